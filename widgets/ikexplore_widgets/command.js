// The command line that always matches the switches. What differs from pinned is bold and underlined; Paste reads one.

export default function (host, shared) {
  const {h, text} = shared.kit,
    {state, post, say} = shared;
  const menu = h(
    'div',
    {class: 'menu', role: 'group', 'aria-label': 'Save', hidden: true},
    [
      ['svg', 'this page, SVG'],
      ['png', 'this page, PNG'],
      ['md', 'measured rows, Markdown'],
      ['jsonl', 'measured rows, JSONL'],
    ].map(([id, name]) =>
      h(
        'button',
        {
          'data-as': id,
          onclick: () => {
            post.send('save', {as: id});
            shut(true);
          },
        },
        name,
      ),
    ),
  );
  const save = h(
    'button',
    {
      class: 'btn save',
      'aria-haspopup': 'true',
      'aria-expanded': 'false',
      onclick: () => (menu.hidden ? unfold() : shut()),
    },
    'Save',
  );
  function unfold() {
    menu.hidden = false;
    save.setAttribute('aria-expanded', 'true');
    menu.firstChild.focus({preventScroll: true});
  }
  function shut(back) {
    menu.hidden = true;
    save.setAttribute('aria-expanded', 'false');
    if (back) save.focus({preventScroll: true});
  }
  menu.addEventListener('keydown', e => {
    const step = {ArrowDown: 1, ArrowUp: -1}[e.key],
      all = [...menu.children];
    if (e.key === 'Escape') shut(true);
    else if (step)
      all[(all.indexOf(document.activeElement) + step + all.length) % all.length].focus({preventScroll: true});
    else return;
    e.preventDefault();
  });
  menu.addEventListener('focusout', e => {
    if (!menu.contains(e.relatedTarget) && e.relatedTarget !== save) shut();
  });
  const line = h('div', {class: 'cmd', 'aria-label': 'Command line'}),
    buttons = h('div', {class: 'btns'});
  let pasting = false,
    timer = 0;
  const whole = () => state.command.tokens.map(t => t.text).join(' ');

  async function copy(button) {
    let done = true;
    try {
      await navigator.clipboard.writeText(whole());
    } catch {
      done = select();
    }
    text(button, done ? 'Copied' : 'Selected');
    say(done ? 'Command line copied' : 'Command line selected');
    clearTimeout(timer);
    timer = setTimeout(() => text(button, 'Copy'), 1200);
  }
  function select() {
    // no clipboard without a secure page: select, and try the old way
    const range = document.createRange();
    range.selectNodeContents(line);
    const chosen = getSelection();
    chosen.removeAllRanges();
    chosen.addRange(range);
    try {
      return document.execCommand('copy');
    } catch {
      return false;
    }
  }
  function open() {
    pasting = true;
    const box = h('textarea', {
      'aria-label': 'Paste a command line',
      spellcheck: 'false',
      placeholder: 'Paste a command line; flags that are not understood are named',
    });
    box.value = whole();
    const apply = () => {
      pasting = false;
      post.send('paste', {text: box.value});
      show();
    };
    const cancel = () => {
      pasting = false;
      show();
    };
    box.addEventListener('keydown', e => {
      if (e.key === 'Escape') cancel();
      if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) apply();
    });
    host.replaceChildren(
      box,
      h(
        'div',
        {class: 'btns'},
        h('button', {class: 'btn', onclick: cancel}, 'Cancel'),
        h('button', {class: 'btn pri', onclick: apply}, 'Apply'),
      ),
    );
    box.focus({preventScroll: true});
    box.select();
  }
  function show() {
    if (pasting) return;
    line.replaceChildren(
      ...state.command.tokens.flatMap(t => {
        const body =
          t.flag !== undefined ? [`${t.flag} `, h('span', {class: 'pat'}, t.text.slice(t.flag.length + 1))] : [t.text];
        return [h('span', {class: 'tok'}, t.changed ? h('mark', {}, ...body) : body), ' '];
      }),
    );
    if (!state.command.tokens.length) line.replaceChildren(h('span', {class: 'mut'}, 'no flags: the defaults'));
    if (!host.contains(line)) {
      const button = h('button', {class: 'btn copy', onclick: () => copy(button)}, 'Copy');
      buttons.replaceChildren(h('button', {class: 'btn paste', onclick: open}, 'Paste'), button, save, menu);
      host.replaceChildren(line, buttons);
    }
  }
  return {
    update(changed) {
      if (changed.has('command')) show();
    },
    dispose() {
      clearTimeout(timer);
    },
  };
}
