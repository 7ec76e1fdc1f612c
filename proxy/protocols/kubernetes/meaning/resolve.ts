import type { KubernetesCommand } from '../../../../policy/command.ts';
import type { Asking, Understanding } from './port.ts';

/** What policy says of a command: run it, ask people first, or do not. */
export type Judgement = 'Allow' | 'RequireApproval' | 'Deny';

/**
 * The understanding to decide on. The API server is asked only where that can change the decision, or people will read what it says:
 * not for what is allowed at worst, and not for what is denied whatever its body does.
 * @param judge decides without any effect, such as counting
 * @throws as `Understanding.refine`
 */
export async function resolve(
  understanding: Understanding,
  judge: (command: KubernetesCommand) => Judgement,
  asking: Asking,
): Promise<Understanding> {
  const { certain, command, refine } = understanding;
  if (refine === undefined || judge(command) === 'Allow') return understanding;
  if (certain !== undefined && judge(certain) === 'Deny') return { ...understanding, command: certain };
  return refine(asking);
}
