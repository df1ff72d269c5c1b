// The switches: name, flag, control and one line of effect. A dot marks what differs from the pinned settings.

export default function (host, shared) {
  const {h, text, attr, swatch} = shared.kit,
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
          if (row.kind === 'rules') return (rules ||= makeRules(row)).node;
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

  /** "experts of layers a to b on CUDA1", without a regex to write. */
  function makePick() {
    const what = h('select', {'aria-label': 'Which weights'}),
      first = h('input', {class: 'num', inputmode: 'numeric', 'aria-label': 'First layer', value: '0'}),
      last = h('input', {class: 'num', inputmode: 'numeric', 'aria-label': 'Last layer'}),
      device = h('select', {'aria-label': 'Device'});
    const whole = (node, other) => {
      const n = Math.round(Number(node.value));
      return node.value.trim() !== '' && Number.isFinite(n) ? Math.max(0, Math.min(state.controls.n_layer - 1, n)) : other;
    };
    const add = () =>
      post.send('assign', {
        what: what.value,
        first: whole(first, 0),
        last: whole(last, state.controls.n_layer - 1),
        device: device.value,
      });
    const node = h(
      'div',
      {class: 'pick', role: 'group', 'aria-label': 'Quick pick', hidden: true},
      what,
      h('span', {}, 'of layers ', first, ' \u2013 ', last),
      h('span', {}, 'to ', device, ' ', h('button', {class: 'btn sm', onclick: add}, 'Add')),
    );
    let shown = '';
    return {
      node,
      put(now) {
        const sign = JSON.stringify([now.picks, now.devices, now.n_layer]);
        if (sign === shown) return;
        shown = sign;
        const kept = [what.value, device.value];
        what.replaceChildren(...now.picks.map(([id, name]) => h('option', {value: id}, name)));
        device.replaceChildren(...now.devices.map(name => h('option', {value: name}, name)));
        if (now.picks.some(([id]) => id === kept[0])) what.value = kept[0];
        if (now.devices.includes(kept[1])) device.value = kept[1];
        attr(last, 'placeholder', now.n_layer - 1);
      },
    };
  }

  function makeRules(row) {
    const add = h(
      'button',
      {
        class: 'link sm',
        onclick: () => {
          texts.unshift('');
          draw();
          send();
          lists.querySelector('textarea').focus();
        },
      },
      'add rule',
    );
    const picker = makePick();
    const quick = h(
      'button',
      {
        class: 'link sm quick',
        'aria-expanded': 'false',
        onclick: () => {
          picker.node.hidden = !picker.node.hidden;
          attr(quick, 'aria-expanded', !picker.node.hidden);
          if (!picker.node.hidden) picker.node.querySelector('select').focus();
        },
      },
      'quick pick',
    );
    const head = h(
      'div',
      {class: 'row'},
      h('b', {title: row.meaning}, row.name, ' ', h('span', {class: 'mono mut'}, row.flag)),
      h('span', {class: 'adds'}, add, quick),
      h('span', {class: 'eff'}, 'first match wins; or drag over layers in Tensors'),
    );
    const lists = h('div'),
      node = h('div', {class: 'rules'}, head, picker.node, lists);
    let texts = [],
      lines = [];
    const send = () => post.set({rules: [...texts]});
    function draw() {
      lines = texts.map((value, i) => {
        const mark = h('span'),
          count = h('output'),
          note = h('small'),
          told = h('ul', {class: 'told', hidden: true});
        const tell = h(
          'button',
          {
            class: 'tell',
            'aria-expanded': 'false',
            onclick: () => post.send('show', {name: 'rule', on: tell.getAttribute('aria-expanded') !== 'true', index: i}),
          },
          count,
        );
        // one line when it is left, as many as it needs while it is edited: regexes of real commands are long
        const input = h('textarea', {
          rows: '1',
          spellcheck: 'false',
          placeholder: 'regex=DEVICE',
          'aria-label': `-ot rule ${i + 1}`,
          oninput: () => {
            if (input.value.includes('\n')) input.value = input.value.replace(/\s*\n\s*/g, '');
            texts[i] = input.value;
            fit(input);
            send();
          },
          onkeydown: e => {
            if (e.key === 'Enter') e.preventDefault();
          },
          onfocus: () => fit(input),
          onblur: () => {
            input.style.height = '';
            input.scrollLeft = 0;
          },
        });
        input.value = value;
        const x = h(
          'button',
          {
            class: 'x',
            'aria-label': `Remove rule ${i + 1}`,
            onclick: () => {
              texts.splice(i, 1);
              draw();
              send();
            },
          },
          '\u00d7',
        );
        return {input, mark, count, tell, told, note, node: h('div', {class: 'rule'}, mark, input, tell, note, told, x)};
      });
      lists.replaceChildren(...lines.map(l => l.node));
      show();
    }
    function fit(input) {
      input.style.height = 'auto';
      input.style.height = `${input.scrollHeight}px`;
    }
    function fill(node, lines) {
      const sign = JSON.stringify(lines || null);
      node.hidden = !lines;
      if (node.dataset.sign === sign) return;
      node.dataset.sign = sign;
      node.replaceChildren(
        ...(lines || []).map(([role, layers]) => h('li', {}, h('span', {class: 'mono'}, role), layers ? ` ${layers}` : '')),
      );
    }
    function show() {
      const known = state.controls.rules;
      lines.forEach((line, i) => {
        const rule = known[i] && known[i].text === texts[i] ? known[i] : null;
        if (!rule) return;
        line.mark.replaceChildren(swatch(rule.dev >= 0 ? state.memory.devices[rule.dev] : null));
        text(line.count, rule.bad ? '' : rule.hits);
        attr(line.tell, 'aria-label', `Rule ${i + 1} decides ${rule.hits} tensors; list them`);
        line.tell.disabled = !rule.hits && !rule.told;
        attr(line.tell, 'aria-expanded', Boolean(rule.told));
        fill(line.told, rule.told);
        text(line.note, rule.note);
        attr(line.note, 'title', rule.note);
        line.note.classList.toggle('bad', rule.bad);
        attr(line.input, 'aria-invalid', rule.bad ? 'true' : null);
        attr(line.input, 'title', rule.text.length > 28 ? rule.text : null);
      });
    }
    return {
      node,
      put(now) {
        picker.put(now);
        head.classList.toggle('chg', Boolean(now.rules_changed));
        const known = now.rules.map(r => r.text);
        if (now.seq >= post.seq() && JSON.stringify(known) !== JSON.stringify(texts)) {
          texts = known;
          draw();
        } else show();
      },
    };
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
