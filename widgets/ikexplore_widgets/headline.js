// Five figures: the two rates as measured, then what the plan says. The second line is the change against pinned.

export default function (host, shared) {
  const {h, text, attr} = shared.kit,
    {state} = shared;
  let cells = [];
  const cell = () => {
    const label = h('span', {class: 'sm mut'}),
      value = h('span'),
      unit = h('small'),
      sub = h('span', {class: 'sm mut'});
    return {label, value, unit, sub, node: h('div', {class: 'kpi'}, label, h('span', {class: 'v'}, value, unit), sub)};
  };
  return {
    update(changed) {
      if (!changed.has('headline')) return;
      const now = state.headline.cells;
      if (cells.length !== now.length) {
        cells = now.map(cell);
        host.replaceChildren(...cells.map(c => c.node));
      }
      now.forEach((k, i) => {
        const c = cells[i];
        text(c.label, k.label);
        text(c.value, k.value);
        text(c.unit, k.unit ? ` ${k.unit}` : '');
        text(c.sub, k.sub || '\u00a0');
        attr(c.sub, 'title', k.sub);
        attr(c.label, 'title', k.label);
        c.value.className = k.bad ? 'bad' : k.quiet ? 'mut' : '';
        c.node.className = `kpi ${k.optional ? 'opt' : ''}`;
        c.node.dataset.key = k.key;
      });
    },
  };
}
