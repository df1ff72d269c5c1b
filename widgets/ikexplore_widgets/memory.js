// A bar per device, scaled to its own capacity, so that the capacity ticks form one vertical line.

const ROOM = 94; // the capacity lies at 94 % of the bar's width
const LOW = 0.05; // below this share a bar is drawn to the largest such one, without a tick
const PARTS = [
  ['model', 'model', 1],
  ['kv', 'KV', 0.62],
  ['compute', 'compute', 0.34],
];

export default function (host, shared) {
  const {h, s, text, num, figure, swatch, hue} = shared.kit,
    {state, tip} = shared;
  const note = h('span', {class: 'note'}),
    grid = h('div', {class: 'mem'});
  host.append(h('div', {class: 'cap'}, h('h3', {}, 'Memory'), note), grid);
  let shown = '';
  const marked = d => Boolean(d.cap) && sum(d) >= LOW * d.cap;
  const sum = d => d.model + d.kv + d.compute;

  function bar(device, was, full) {
    const x = v => `${((100 * v) / full).toFixed(2)}%`,
      colour = `var(${hue(device).name})`,
      total = sum(device);
    const ticked = marked(device),
      over = ticked && total > device.cap;
    const svg = s('svg', {
      height: 24,
      role: 'img',
      'aria-label': `${device.name} ${figure(total)} MiB${device.cap ? ` of ${num(device.cap)}` : ''}${device.sim ? ', simulated' : ''}`,
    });
    if (ticked) svg.append(s('rect', {x: 0, y: 5, width: `${ROOM}%`, height: 13, fill: 'var(--veil)'}));
    if (ticked && device.sim && total < device.cap * 0.78)
      svg.append(s('text', {x: `${ROOM - 1.5}%`, y: 15.5, 'text-anchor': 'end'}, 'simulated'));
    let at = 0;
    for (const [key, , strength] of PARTS) {
      const from = at;
      at += device[key];
      if (device[key])
        svg.append(
          s('rect', {
            x: x(from),
            width: x(Math.max(0, Math.min(at, full) - from)),
            y: 5,
            height: 13,
            fill: colour,
            'fill-opacity': strength * (device.sim ? 0.7 : 1),
            stroke: 'var(--bg)',
            'stroke-width': total > full / 100 ? 1 : 0,
          }),
        );
    }
    if (device.sim && !over)
      svg.append(
        s('rect', {
          x: ticked ? x(total) : 0,
          y: 5.5,
          width: x(ticked ? device.cap - total : total),
          height: 12,
          fill: 'none',
          stroke: 'var(--ink3)',
          'stroke-dasharray': '3 3',
        }),
      );
    if (over)
      svg.append(
        s('rect', {x: `${ROOM}%`, width: x(Math.min(total, full) - device.cap), y: 5, height: 13, fill: 'var(--bad)'}),
      );
    if (ticked)
      svg.append(
        s('line', {
          x1: `${ROOM}%`,
          x2: `${ROOM}%`,
          y1: 1,
          y2: 22,
          stroke: over ? 'var(--bad)' : 'var(--ink)',
          'stroke-width': 1.5,
        }),
      );
    if (was && Math.abs(sum(was) - total) > Math.max(0.05, total / 2000)) {
      const mark = s(
        'svg',
        {x: x(Math.min(sum(was), full)), y: 0, width: 8, height: 24, overflow: 'visible'},
        s('path', {d: 'M-3.5 24 L0 19.5 L3.5 24Z', fill: 'var(--ink3)'}),
      );
      svg.append(mark);
    }
    return svg;
  }
  function words(device, was) {
    const lines = [[device.name + (device.sim ? ', simulated' : ''), 'b']];
    for (const [key, name] of PARTS) {
      const change = was && Math.abs(was[key] - device[key]) > 0.05 ? `, was ${figure(was[key])}` : '';
      lines.push(`${name} ${figure(device[key])} MiB${change}`);
    }
    const left = device.cap ? device.cap - sum(device) : null;
    lines.push(
      left === null
        ? [device.host ? 'RAM size not known' : 'capacity not known', 'mut']
        : left < 0
          ? [`over by ${figure(-left)} MiB`, 'bad']
          : `${figure(left)} MiB left`,
    );
    return lines;
  }
  return {
    update(changed) {
      if (!['memory', 'pinned', 'header'].some(name => changed.has(name))) return;
      const {devices} = state.memory,
        pinned = state.header.against && state.pinned ? state.pinned.memory : null,
        sign = JSON.stringify([devices, pinned]);
      if (sign === shown) return;
      shown = sign;
      text(
        note,
        `model, KV, compute, MiB${pinned ? '; \u25b4 pinned' : ''}${devices.some(d => d.cap && !marked(d)) ? '; no tick: under 5 % used' : ''}`,
      );
      const low = devices.filter(d => !marked(d)),
        before = d => pinned && pinned.find(p => p.name === d.name);
      const largest = Math.max(...low.map(sum), ...low.map(before).filter(Boolean).map(sum), 0.001);
      grid.replaceChildren(
        ...devices.flatMap((device, i) => {
          const was = before(device),
            total = sum(device),
            over = device.cap && total > device.cap;
          const full = (marked(device) ? device.cap : largest) / (ROOM / 100),
            show = e => tip.show(words(device, was), e);
          const figures = over
            ? h('span', {class: 'bad'}, `over by ${figure(total - device.cap)}`)
            : h('span', {}, figure(total), device.cap ? h('span', {class: 'mut'}, ` / ${num(device.cap)}`) : null);
          return [
            h(
              'div',
              {class: 'n'},
              swatch(device),
              h('span', {class: 'dev'}, device.name, device.sim ? h('small', {}, 'simulated') : null),
            ),
            h('div', {class: 'bar', onpointermove: show, onpointerleave: () => tip.hide()}, bar(device, was, full)),
            h('div', {class: 't'}, figures),
          ];
        }),
      );
    },
  };
}
