/** Style and script of the exported page: constants, so that the page's policy can name them by their digests. */

export const PAGE_STYLE = `
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1b2330;--dim:#5d6878;--line:#dfe3ea;--code:#f3f5f8;--accent:#2f5fd0;
--good:#16794a;--bad:#bb2336;--held:#96610a;--mask:#7a3fa8;--kw:#2f5fd0;--str:#16794a;--num:#a0511c}
@media(prefers-color-scheme:dark){:root{--bg:#12161d;--card:#1a202a;--ink:#e4e9f1;--dim:#94a0b2;--line:#2c3543;--code:#151a22;--accent:#7ea6ff;
--good:#5fce98;--bad:#ff7c8b;--held:#efbd62;--mask:#cd9bf3;--kw:#86abff;--str:#7fd6a6;--num:#f0a878}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main,header,.bar>div{max-width:1040px;margin:0 auto;padding:0 20px}
header{padding-top:28px;padding-bottom:12px}
h1{font-size:19px;margin:0 0 12px;font-weight:650}h1 code{font-weight:500;color:var(--dim)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:10px 24px;margin:0}
dt{font-size:11px;letter-spacing:.05em;text-transform:uppercase;color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
.bar{position:sticky;top:0;z-index:1;background:var(--bg);border-bottom:1px solid var(--line);padding:10px 0}
.row{display:flex;gap:8px;align-items:center;flex-wrap:wrap}
button,select,input[type=search]{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:7px;padding:4px 11px}
button{cursor:pointer}button:hover{border-color:var(--accent)}button[aria-pressed=true]{background:var(--accent);border-color:var(--accent);color:var(--bg)}
#play{min-width:78px}#now{font-variant-numeric:tabular-nums;color:var(--dim);margin-left:auto}
input[type=search]{flex:1;min-width:120px}
:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.track{position:relative;height:26px;margin:8px 0 2px}
.track::before{content:"";position:absolute;left:0;right:0;top:11px;height:4px;border-radius:2px;background:var(--line)}
.track i{position:absolute;top:7px;width:3px;height:12px;margin-left:-1px;border-radius:2px;background:var(--good);pointer-events:none}
.track i.denied,.track i.failed,.track i.refused{background:var(--bad);height:18px;top:4px}.track i.held{background:var(--held);height:18px;top:4px}
.track input{position:absolute;inset:0;width:100%;margin:0;background:none;appearance:none;-webkit-appearance:none;cursor:pointer}
.track input::-webkit-slider-thumb{-webkit-appearance:none;width:14px;height:14px;border-radius:50%;background:var(--accent);border:2px solid var(--card);margin-top:0}
.track input::-moz-range-thumb{width:11px;height:11px;border-radius:50%;background:var(--accent);border:2px solid var(--card)}
ol{list-style:none;margin:18px 0 60px;padding:0}
.step{display:grid;grid-template-columns:92px minmax(0,1fr);gap:12px;padding:5px 12px 5px 0;background:var(--card);border:solid var(--line);border-width:0 1px;border-left:3px solid var(--line)}
.step.top{border-top-width:1px;border-top-left-radius:8px;border-top-right-radius:8px;margin-top:9px;padding-top:9px}
.step.denied,.step.failed,.step.refused{border-left-color:var(--bad)}.step.held,.step.released{border-left-color:var(--held)}.step.executed{border-left-color:var(--good)}
.step:not(.plain):has(+.top),.step:not(.plain):last-child{border-bottom-width:1px;border-bottom-left-radius:8px;border-bottom-right-radius:8px;padding-bottom:8px}
.step.plain{background:none;border-color:transparent;color:var(--dim);margin-top:0;padding-top:5px}
.step.later{opacity:.13}.step.hidden{display:none}
time{color:var(--dim);font-size:12px;font-variant-numeric:tabular-nums;text-align:right;padding-top:2px}
.facts{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline;overflow-wrap:anywhere}
.tag{font-weight:650}.tag.good{color:var(--good)}.tag.bad{color:var(--bad)}.tag.held{color:var(--held)}.mask{color:var(--mask)}.quiet{color:var(--dim)}
pre{margin:6px 0 3px;padding:9px 12px;background:var(--code);border-radius:7px;white-space:pre-wrap;overflow-wrap:anywhere}
pre,code,td,th{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:12.5px}
pre .keyword{color:var(--kw);font-weight:600}pre .string{color:var(--str)}pre .number{color:var(--num)}pre .comment{color:var(--dim)}
.scroll{overflow:auto;max-height:430px;border:1px solid var(--line);border-radius:7px;margin:4px 0}
table{border-collapse:collapse;min-width:100%}th,td{padding:3px 11px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);white-space:pre-wrap;overflow-wrap:anywhere;max-width:420px}
th{position:sticky;top:0;background:var(--code);font-weight:600}tr:last-child td{border-bottom:0}td.n{text-align:right}td.null{color:var(--dim);font-style:italic}
@media print{.bar{display:none}.step.later{opacity:1}.scroll{max-height:none}}
`;

export const PAGE_SCRIPT = `
'use strict';
const steps = [...document.querySelectorAll('.step')];
const pause = Number(document.body.dataset.pause);
const slider = document.getElementById('at'), play = document.getElementById('play'), now = document.getElementById('now');
const speed = document.getElementById('speed'), find = document.getElementById('find'), track = document.getElementById('track');
// Played time: as recorded, but no wait is longer than the page says.
let sum = 0, before = 0;
const times = steps.map((step) => {
  const at = Number(step.dataset.at);
  sum += Math.min(at - before, pause);
  before = at;
  return sum;
});
const total = Math.max(sum, 1);
slider.max = String(total);
const MARKED = new Set(['command', 'denied', 'failed', 'held', 'refused']);
steps.forEach((step, index) => {
  if (!MARKED.has(step.dataset.kind)) return;
  const mark = document.createElement('i');
  mark.className = step.dataset.kind;
  mark.style.left = (times[index] / total) * 100 + '%';
  track.prepend(mark);
});
let position = total, timer = 0, last = 0;
function clock(micros) {
  const s = micros / 1e6;
  return String(Math.floor(s / 60)).padStart(2, '0') + ':' + (s % 60).toFixed(1).padStart(4, '0');
}
function seek(to, follow) {
  position = Math.min(Math.max(to, 0), total);
  slider.value = String(position);
  let current;
  steps.forEach((step, index) => {
    const later = times[index] > position;
    step.classList.toggle('later', later);
    if (!later && !step.classList.contains('hidden')) current = step;
  });
  now.textContent = clock(position) + ' / ' + clock(total);
  if (follow && current) current.scrollIntoView({ block: 'center', behavior: 'smooth' });
}
function stop() {
  cancelAnimationFrame(timer);
  timer = 0;
  play.textContent = 'Play';
}
function tick(time) {
  const shown = times.filter((at) => at <= position).length;
  const next = position + (time - last) * 1000 * Number(speed.value);
  last = time;
  seek(next, times.filter((at) => at <= next).length > shown);
  if (position >= total) stop();
  else timer = requestAnimationFrame(tick);
}
play.addEventListener('click', () => {
  if (timer) return stop();
  if (position >= total) seek(0, true);
  play.textContent = 'Pause';
  last = performance.now();
  timer = requestAnimationFrame(tick);
});
slider.addEventListener('input', () => {
  stop();
  seek(Number(slider.value), true);
});
const filters = [...document.querySelectorAll('[data-filter]')];
let filter = 'all';
function apply() {
  const words = find.value.toLowerCase();
  const wanted = new Set();
  const matches = (step) =>
    (filter === 'all' || step.dataset.kind === filter || (filter === 'masked' && 'masked' in step.dataset));
  const named = new Map();
  for (const step of steps) {
    const key = step.dataset.seq;
    if (key === undefined) continue;
    const known = named.get(key) ?? { kind: false, text: false };
    known.kind ||= matches(step);
    known.text ||= words === '' || step.textContent.toLowerCase().includes(words);
    named.set(key, known);
  }
  for (const [key, { kind, text }] of named) if (kind && text) wanted.add(key);
  for (const step of steps) {
    const key = step.dataset.seq;
    const alone = filter === 'all' ? words === '' || step.textContent.toLowerCase().includes(words) : step.dataset.kind === 'refused' && filter === 'denied';
    step.classList.toggle('hidden', key === undefined ? !alone : !wanted.has(key));
  }
}
for (const button of filters) {
  button.addEventListener('click', () => {
    filter = button.dataset.filter;
    for (const other of filters) other.setAttribute('aria-pressed', String(other === button));
    apply();
  });
}
find.addEventListener('input', apply);
document.addEventListener('keydown', (event) => {
  if (event.target !== document.body) return;
  if (event.key === ' ') {
    event.preventDefault();
    play.click();
  }
});
document.querySelector('.bar').hidden = false;
seek(total, false);
`;
