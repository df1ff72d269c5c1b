// The -ot rules: a line each with what it takes, a list on demand, and a quick way to write one.

/** "experts of layers a to b on CUDA1", without a regex to write. */
function makePick({kit, post, state}) {
  const {h, attr} = kit;
  const what = h('select', {'aria-label': 'Which weights'}),
    first = h('input', {class: 'num', inputmode: 'numeric', 'aria-label': 'First layer', value: '0'}),
    last = h('input', {class: 'num', inputmode: 'numeric', 'aria-label': 'Last layer'}),
    device = h('select', {'aria-label': 'Device'});
  const whole = (node, other) => {
    const n = Math.round(Number(node.value));
    return node.value.trim() !== '' && Number.isFinite(n)
      ? Math.max(0, Math.min(state.controls.n_layer - 1, n))
      : other;
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

/** The editor of all rules; `put` takes the state of the settings. */
export function editor(row, shared) {
  const {h, text, attr, swatch} = shared.kit,
    {post, state} = shared;
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
  const picker = makePick(shared);
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
      return {
        input,
        mark,
        count,
        tell,
        told,
        note,
        node: h('div', {class: 'rule'}, mark, input, tell, note, told, x),
      };
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
      ...(lines || []).map(([role, layers]) =>
        h('li', {}, h('span', {class: 'mono'}, role), layers ? ` ${layers}` : ''),
      ),
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
