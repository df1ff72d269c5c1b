// The rig in full: every device with its figures, to be edited; grey figures are those of the datasheet.

export default function (host, shared) {
  const {h, text, attr, swatch} = shared.kit,
    {state, post} = shared;
  const note = h('span', {class: 'note'}),
    learned = h('p', {class: 'sm mut'}),
    wrong = h('p', {class: 'sm bad', 'aria-live': 'polite'}),
    table = h('div', {class: 'devices'});
  const detect = h('button', {
    class: 'btn sm detect',
    onclick: () => post.send(state.rig.detecting ? 'stop' : 'detect'),
  });
  const close = h('button', {class: 'link sm', onclick: () => post.send('show', {name: 'rig', on: false})}, 'close');
  const count = field('count', {class: 'num', inputmode: 'numeric', 'aria-label': 'Number of GPUs'});
  const words = field('words', {
    class: 'words',
    'aria-label': 'The rig in words',
    placeholder: 'in words: EPYC 9355, 12-channel DDR5-6400, RTX 5090 + RTX 4090',
  });
  host.append(
    h('div', {class: 'cap'}, h('h3', {}, 'Rig'), note, close),
    h('div', {class: 'tools'}, h('label', {}, 'GPUs ', count), words, detect),
    table,
    wrong,
    learned,
  );
  let shape = '',
    inputs = new Map();

  /** A field that sends what was typed by Enter or on leaving it, if it changed. */
  function field(key, attrs) {
    const node = h('input', {spellcheck: 'false', ...attrs});
    let known = '';
    node.put = value => {
      if (document.activeElement !== node || node.value === known) node.value = value;
      known = String(value);
    };
    const commit = () => {
      if (node.value === known) return;
      known = node.value;
      post.set({[`rig.${key}`]: node.value});
    };
    node.addEventListener('change', commit);
    node.addEventListener('keydown', e => {
      if (e.key === 'Enter') commit();
    });
    return node;
  }
  function build(devices) {
    inputs = new Map();
    const groups = [devices.filter(d => !d.host), devices.filter(d => d.host)].filter(g => g.length);
    table.replaceChildren(
      ...groups.map(rows =>
        h(
          'table',
          {class: 'runs'},
          h(
            'thead',
            {},
            h(
              'tr',
              {},
              h('th', {scope: 'col'}, rows[0].host ? 'Host' : 'GPU'),
              rows[0].fields.map(f =>
                h('th', {scope: 'col', class: f.key}, f.unit ? `${f.label}, ${f.unit}` : f.label),
              ),
            ),
          ),
          h(
            'tbody',
            {},
            rows.map(row =>
              h(
                'tr',
                {},
                h(
                  'th',
                  {scope: 'row'},
                  swatch({name: row.host ? 'CPU' : row.title, host: row.host, sim: row.sim}),
                  row.host ? ' CPU' : ` GPU ${row.id}`,
                ),
                row.fields.map(f => {
                  const input = field(`${row.id}.${f.key}`, {
                    class: f.key,
                    'aria-label': `${row.title}, ${f.label}${f.unit ? `, ${f.unit}` : ''}`,
                  });
                  inputs.set(`${row.id}.${f.key}`, input);
                  return h('td', {}, input);
                }),
              ),
            ),
          ),
        ),
      ),
    );
  }
  return {
    update(changed) {
      if (!changed.has('rig')) return;
      const now = state.rig;
      host.hidden = !now.open;
      if (!now.open) return;
      text(note, now.note);
      text(detect, now.detecting ? 'Stop' : 'Detect this computer');
      detect.disabled = now.locked && !now.detecting;
      text(wrong, now.errors.join(' '));
      wrong.hidden = !now.errors.length;
      text(learned, now.learned);
      learned.hidden = !now.learned;
      const wanted = JSON.stringify(now.devices.map(d => [d.id, d.title, d.sim, d.host]));
      if (wanted !== shape) {
        const at = [...inputs].find(([, node]) => node === document.activeElement);
        build(now.devices);
        shape = wanted;
        if (at && inputs.has(at[0])) inputs.get(at[0]).focus({preventScroll: true});
      }
      count.put(now.count);
      words.put(now.words);
      for (const device of now.devices)
        for (const f of device.fields) {
          const node = inputs.get(`${device.id}.${f.key}`);
          node.put(f.value);
          attr(node, 'placeholder', f.known);
          attr(
            node,
            'title',
            f.error || (f.value === '' && f.known ? `${f.known}, of the datasheet or a guess` : null),
          );
          attr(node, 'aria-invalid', f.error ? 'true' : null);
        }
    },
  };
}
