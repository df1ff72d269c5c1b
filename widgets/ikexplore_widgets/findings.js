// Errors, warnings, notes, in that order: one sentence each, and one action where a change of settings helps.

const LEVELS = ['note', 'warning', 'error'];

export default function (host, shared) {
  const {h, s} = shared.kit,
    {state, post} = shared;
  const list = h('ul', {class: 'list'});
  host.append(h('div', {class: 'cap'}, h('h3', {}, 'Findings')), list);
  const icon = level => {
    const svg = s('svg', {viewBox: '0 0 12 12', role: 'img', 'aria-label': LEVELS[level]});
    if (level === 0) svg.append(s('circle', {cx: 6, cy: 6, r: 2.5, fill: 'var(--ink3)'}));
    if (level === 1)
      svg.append(
        s('path', {
          d: 'M6 1.5 11 10.5H1Z',
          fill: 'none',
          stroke: 'var(--ink)',
          'stroke-width': 1.25,
          'stroke-linejoin': 'round',
        }),
        s('path', {d: 'M6 4.6V7.4M6 8.6V9.4', stroke: 'var(--ink)', 'stroke-width': 1.25}),
      );
    if (level === 2)
      svg.append(
        s('circle', {cx: 6, cy: 6, r: 5.5, fill: 'var(--bad)'}),
        s('path', {d: 'M6 3V6.8M6 8V9', stroke: 'var(--bg)', 'stroke-width': 1.5}),
      );
    return svg;
  };
  const row = item =>
    h(
      'li',
      {class: 'find'},
      icon(item.level),
      h('span', {class: item.level ? '' : 'mut'}, item.text),
      item.action
        ? h('button', {class: 'link sm', onclick: () => post.send('act', {text: item.text})}, item.action)
        : null,
    );
  let shown = new Map(); // rows that stay are not touched: a click that has begun on one of them still counts
  return {
    update(changed) {
      if (!changed.has('findings')) return;
      const {items} = state.findings;
      const wanted = new Map();
      for (const item of items.length ? items : [{level: 0, text: 'Nothing to remark on these settings.'}]) {
        const key = JSON.stringify(item);
        wanted.set(key, shown.get(key) || row(item));
      }
      for (const [key, li] of shown) if (!wanted.has(key)) li.remove();
      [...wanted.values()].forEach((li, i) => {
        if (list.children[i] !== li) list.insertBefore(li, list.children[i] || null);
      });
      shown = wanted;
    },
  };
}
