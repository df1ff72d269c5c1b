// The switches: name, flag, control and one line of effect. A dot marks what differs from the pinned settings.

export default function (host, shared) {
  const {h, text, attr} = shared.kit,
    {post, state} = shared;
  const boxes = new Map(),
    shapeOf = row => JSON.stringify([row.key, row.kind, row.name, row.flag, row.choices]);
  let shape = '',
    rows = new Map(),
    rules = null;

  function control(row) {
    const label = row.name;
    if (row.kind === 'switch') {
      const node = h('button', {
        class: 'sw',
        role: 'switch',
        'aria-label': label,
        onclick: () => {
          const on = node.getAttribute('aria-checked') !== 'true';
          attr(node, 'aria-checked', on);
          post.set({[row.key]: on});
        },
      });
      return {
        node,
        put: value => attr(node, 'aria-checked', Boolean(value)),
        off: off => {
          node.disabled = off;
        },
      };
    }
    if (row.kind === 'seg') return segments(row, label);
    if (row.kind === 'select') {
      const node = h(
        'select',
        {'aria-label': label, onchange: () => post.set({[row.key]: node.value})},
        row.choices.map(([id, name]) => h('option', {value: id}, name)),
      );
      return {
        node,
        put: value => {
          node.value = value;
        },
        off: off => {
          node.disabled = off;
        },
      };
    }
    const node = h('input', {
      class: row.kind === 'path' ? 'path' : 'num',
      inputmode: row.kind === 'path' ? null : 'numeric',
      'aria-label': label,
      spellcheck: 'false',
      placeholder: row.placeholder,
      onkeydown: e => {
        if (row.kind !== 'path') step(e, node, row);
      },
    });
    commits(node, row.key);
    return {
      node,
      put: value => {
        if (document.activeElement !== node) node.value = value;
      },
      off: off => {
        node.disabled = off;
      },
    };
  }
  /** Send what was typed, by Enter or on leaving the field, once. */
  function commits(node, key) {
    let sent = ['', 0];
    const commit = () => {
      if (sent[0] === node.value && performance.now() - sent[1] < 400) return;
      sent = [node.value, performance.now()];
      post.set({[key]: node.value});
    };
    node.addEventListener('change', commit);
    node.addEventListener('keydown', e => {
      if (e.key === 'Enter') commit();
    });
  }
  function step(e, node, row) {
    const up = {ArrowUp: 1, ArrowDown: -1}[e.key],
      value = Number(node.value);
    if (!up || !Number.isFinite(value)) return;
    e.preventDefault();
    const next =
      row.step === 'double'
        ? up > 0
          ? Math.max(1, value * 2)
          : Math.max(1, Math.floor(value / 2))
        : Math.max(row.min ?? 0, value + up);
    node.value = next;
    post.set({[row.key]: String(next)});
  }
  function segments(row, label) {
    const buttons = row.choices.map(choice =>
      h(
        'button',
        {
          'aria-pressed': 'false',
          onclick: () => {
            mark(choice);
            post.set({[row.key]: choice});
          },
        },
        choice,
      ),
    );
    const other = row.other
      ? h('input', {
          class: 'other',
          inputmode: 'numeric',
          placeholder: '\u2026',
          title: 'Another value',
          'aria-label': `${label}, another value`,
          onkeydown: e => step(e, other, row),
        })
      : null;
    if (other) commits(other, row.key);
    const node = h('span', {class: 'seg', role: 'group', 'aria-label': label}, buttons, other);
    function mark(value) {
      buttons.forEach((b, i) => attr(b, 'aria-pressed', row.choices[i] === String(value)));
      if (!other) return;
      const listed = row.choices.includes(String(value));
      other.classList.toggle('on', !listed);
      if (document.activeElement !== other) other.value = listed ? '' : value;
    }
    return {
      node,
      put: mark,
      off: off => {
        buttons.forEach(b => {
          b.disabled = off;
        });
        if (other) other.disabled = off;
      },
    };
  }

  /** Put nodes into a box in this order without touching those that are in place, so that focus and typing survive. */
  function arrange(box, nodes) {
    nodes.forEach((node, i) => {
      if (box.childNodes[i] !== node) box.insertBefore(node, box.childNodes[i] || null);
    });
    while (box.childNodes.length > nodes.length) box.lastChild.remove();
  }
  function build(groups) {
    const known = rows,
      nodes = [];
    rows = new Map();
    for (const group of groups) {
      const box =
        boxes.get(group.title) ||
        h('div', {class: 'group', role: 'group', 'aria-label': group.title}, h('h3', {class: 'grp'}, group.title));
      boxes.set(group.title, box);
      arrange(box, [
        box.firstChild,
        ...group.rows.map(row => {
          if (row.kind === 'rules') return (rules ||= shared.rules.editor(row, shared)).node;
          const sign = shapeOf(row),
            old = known.get(row.key);
          const made = old && old.sign === sign ? old : makeRow(row, sign);
          rows.set(row.key, made);
          return made.node;
        }),
      ]);
      nodes.push(box);
    }
    arrange(host, nodes);
  }
  function makeRow(row, sign) {
    const c = control(row),
      eff = h('span', {class: 'eff'});
    const flag = row.flag ? [' ', h('span', {class: 'mono mut'}, row.flag)] : null;
    const node = h('div', {class: `row k-${row.key}`}, h('b', {title: row.meaning}, row.name, flag), c.node, eff);
    return {...c, node, eff, sign};
  }

  return {
    update(changed) {
      if (!changed.has('controls') && !changed.has('memory')) return;
      const now = state.controls;
      const wanted = JSON.stringify(now.groups.map(g => [g.title, g.rows.map(shapeOf)]));
      if (wanted !== shape) {
        build(now.groups);
        shape = wanted;
      }
      const fresh = now.seq >= post.seq();
      for (const group of now.groups)
        for (const row of group.rows) {
          const known = rows.get(row.key);
          if (!known) continue;
          if (fresh) known.put(row.value);
          known.off(Boolean(row.locked));
          known.node.classList.toggle('chg', Boolean(row.changed));
          known.node.classList.toggle('off', Boolean(row.off));
          known.node.classList.toggle('wrong', Boolean(row.error));
          text(known.eff, row.error || row.effect || '');
          attr(known.eff, 'title', row.error || row.effect || null);
          known.eff.classList.toggle('bad', Boolean(row.error));
          attr(known.eff, 'aria-live', row.error ? 'polite' : 'off');
        }
      if (rules) rules.put(now);
    },
  };
}
