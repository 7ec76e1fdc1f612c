#!/usr/bin/env node
import { createProcessIo } from './process-io.ts';
import { runProgram } from './program.ts';

await runProgram(createProcessIo(process));
