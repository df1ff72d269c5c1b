// Where the forecast time goes: a stacked bar for a micro-batch and one for a token, in the order of the devices.
// Colour is the device, strength the cause; what crosses PCIe is ink. The thin line is how long the pinned plan takes.

const STRENGTH = {experts: 1, weights: 0.8, attention: 0.6, 'other ops': 0.42, 'start of ops': 0.3};

export default function (host, shared) {
  const {h, s, attr, hue, num} = shared.kit,
    {state, tip} = shared;
  const ms = t =>
    t >= 10
      ? `${t.toFixed(1)} s`
      : t >= 1
        ? `${t.toFixed(2)} s`
        : t >= 0.1
          ? `${num(t * 1000)} ms`
          : `${(t * 1000).toPrecision(2)} ms`;

  function bar(kind, title, parts, was) {
    const total = parts.reduce((sum, part) => sum + part[2], 0),
      full = Math.max(total, was || 0, 1e-12),
      share = t => (100 * t) / total;
    const svg = s('svg', {height: 18, role: 'img', class: kind});
    let at = 0;
    for (const [name, cause, t] of parts) {
      const device = state.memory.devices.find(d => d.name === name),
        colour = device ? `var(${hue(device).name})` : name ? 'var(--ink)' : 'var(--line2)';
      const strength = device
        ? (STRENGTH[cause] ?? 0.5) * (device.sim ? 0.85 : 1)
        : !name
          ? 1
          : cause === 'weights'
            ? 0.7
            : 0.5;
      svg.append(
        s('rect', {
          x: `${(100 * at) / full}%`,
          width: `${(100 * t) / full}%`,
          y: 0,
          height: 13,
          fill: colour,
          'fill-opacity': strength,
          stroke: 'var(--bg)',
          'stroke-width': t > full / 150 ? 1 : 0,
          onpointermove: e =>
            tip.show(
              [
                [name ? `${name}: ${cause}` : 'the rest', 'b'],
                `${ms(t)}, ${share(t).toFixed(0)} % of ${ms(total)}`,
                ['forecast', 'mut'],
              ],
              e,
            ),
          onpointerleave: () => tip.hide(),
        }),
      );
      at += t;
    }
    if (was) svg.append(s('rect', {x: 0, width: `${(100 * was) / full}%`, y: 15.5, height: 2.5, fill: 'var(--ink3)'}));
    const most = [...parts]
        .filter(part => part[0])
        .sort((a, b) => b[2] - a[2])
        .slice(0, 4),
      words = most.map(([name, cause, t]) => `${name} ${cause} ${share(t).toFixed(0)} %`);
    attr(
      svg,
      'aria-label',
      `${title}, ${ms(total)}, forecast: ${words.join(', ')}${was ? `; the pinned plan takes ${ms(was)}` : ''}`,
    );
    return h(
      'div',
      {class: 'bar'},
      h('p', {}, h('b', {}, `${title}, \u2248 ${ms(total)}`), was ? `, was ${ms(was)}` : ''),
      svg,
      h(
        'p',
        {},
        words.flatMap((word, i) => [i ? ' \u00b7 ' : '', h('span', {}, word)]),
      ),
    );
  }
  return {
    update(changed) {
      if (!changed.has('throughput') && !changed.has('memory')) return;
      const now = state.throughput.forecast.where;
      host.hidden = !now;
      if (!now) {
        host.replaceChildren();
        return;
      }
      host.replaceChildren(
        bar('pp', `A micro-batch of ${num(now.tokens)} tokens`, now.pp, now.pp_was),
        bar('tg', 'A token', now.tg, now.tg_was),
      );
    },
  };
}
