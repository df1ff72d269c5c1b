// The model in full: facts and hyper-parameters, types by role, metadata. All of it is text, whatever a header holds.

export default function (host, shared) {
  const {h, num, figure} = shared.kit,
    {state, post} = shared;
  let shown = '';
  const close = () =>
    h('button', {class: 'link sm', onclick: () => post.send('show', {name: 'facts', on: false})}, 'close');
  const pairs = (rows, cls = '') =>
    h(
      'dl',
      {class: cls},
      rows.flatMap(([key, value]) => [h('dt', {title: key}, key), h('dd', {title: value}, value)]),
    );
  function table(rows) {
    const most = Math.max(...rows.map(row => row.share), 1e-9);
    const share = row => {
      const bar = h('i');
      bar.style.width = `${((100 * row.share) / most).toFixed(1)}%`;
      return h('td', {class: 'share', title: `${(100 * row.share).toFixed(1)} % of all bytes`}, bar);
    };
    return h(
      'table',
      {class: 'runs'},
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          ['Role', 'Type', 'Tensors', 'MiB', 'bpw', 'Share'].map(t => h('th', {scope: 'col'}, t)),
        ),
      ),
      h(
        'tbody',
        {},
        rows.map(row =>
          h(
            'tr',
            {},
            h('th', {scope: 'row', title: row.role}, h('span', {class: 'mono'}, row.role)),
            h('td', {class: 'mono'}, row.types),
            h('td', {}, num(row.n)),
            h('td', {}, figure(row.mib)),
            h('td', {}, row.bpw.toFixed(2)),
            share(row),
          ),
        ),
      ),
    );
  }
  return {
    update(changed) {
      if (!changed.has('facts')) return;
      const now = state.facts;
      host.hidden = !now.open;
      if (!now.open || shown === now.id) {
        if (!now.open) {
          host.replaceChildren();
          shown = '';
        }
        return;
      }
      shown = now.id;
      host.replaceChildren(
        h('div', {class: 'cap'}, h('h3', {}, 'Model'), h('span', {class: 'note'}, 'as its header tells it'), close()),
        h(
          'div',
          {class: 'sheet'},
          h('div', {}, pairs(now.facts), h('h4', {}, 'Hyper-parameters'), pairs(now.hparams, 'mono')),
          h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Types by role'}, table(now.roles)),
          h(
            'div',
            {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Metadata'},
            h('h4', {}, 'Metadata'),
            pairs(now.metadata, 'mono'),
          ),
        ),
      );
    },
  };
}
