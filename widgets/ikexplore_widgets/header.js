// Model name, what is compared with, the rig, Pin, Run and Stop, and the progress line under them.

export default function (host, shared) {
  const {h, text, attr} = shared.kit,
    {post, state} = shared;
  const name = h('button', {class: 'more', title: 'The model in full', onclick: () => view('facts')}),
    title = h('h2', {}, name),
    meta = h('span', {class: 'meta'});
  const against = h('b'),
    cmp = h('span', {class: 'cmp', hidden: true}, 'against pinned ', against);
  const swap = h(
    'button',
    {class: 'link sm', hidden: true, title: 'Exchange the pinned settings and these', onclick: () => post.send('swap')},
    'swap',
  );
  const rig = h('select', {class: 'rig', 'aria-label': 'Rig', onchange: () => post.set({rig: rig.value})});
  const edit = h('button', {class: 'link sm edit', onclick: () => view('rig')}, 'edit');
  const status = h('span', {class: 'status', 'aria-live': 'polite'});
  const pin = h(
    'button',
    {class: 'btn', title: 'Keep these settings as the ones to compare with', onclick: () => post.send('pin')},
    'Pin',
  );
  const run = h('button', {class: 'btn pri run', onclick: press}, 'Run');
  const bar = h('i'),
    progress = h(
      'span',
      {
        class: 'prog',
        role: 'progressbar',
        'aria-label': 'Progress of the run',
        'aria-valuemin': '0',
        'aria-valuemax': '100',
        hidden: true,
      },
      bar,
    );
  host.append(title, meta, cmp, swap, rig, edit, status, pin, run, progress);
  let asked = '',
    askedAt = 0; // what was pressed and is not yet true: the button answers before the kernel does

  function view(which) {
    post.send('show', {name: which, on: !state.header.open.includes(which)});
  }
  function press() {
    const running = state.header.running || state.header.doing;
    asked = running ? 'stop' : 'run';
    post.send(asked);
    askedAt = post.seq();
    show();
  }
  function show() {
    const now = state.header;
    if (now.seq >= askedAt) asked = '';
    const busy = now.running || now.doing,
      label = asked === 'stop' ? 'Stopping' : busy || asked === 'run' ? 'Stop' : 'Run';
    text(run, label);
    run.disabled = asked !== '' || (!busy && !now.can_run);
    attr(run, 'title', now.running ? 'Stop; finished rows are kept' : now.doing ? `Stop ${now.status}` : now.run_note);
    text(status, now.status || '');
    attr(status, 'title', now.status || null);
    progress.hidden = !now.running;
    const done = Math.round(100 * (now.done || 0));
    attr(progress, 'aria-valuenow', done);
    bar.style.width = `${done}%`;
  }
  return {
    update(changed) {
      if (!changed.has('header') && !changed.has('about')) return;
      const now = state.header;
      text(name, state.about.title);
      attr(name, 'aria-expanded', now.open.includes('facts'));
      attr(name, 'title', `${state.about.title}: the model in full`);
      attr(edit, 'aria-expanded', now.open.includes('rig'));
      attr(edit, 'aria-label', 'Edit the rig');
      text(meta, state.about.line);
      attr(meta, 'title', state.about.line);
      cmp.hidden = swap.hidden = !now.against;
      text(against, now.against || '');
      attr(cmp, 'title', now.against || null);
      const wanted = JSON.stringify(now.rigs);
      if (rig.dataset.choices !== wanted) {
        rig.dataset.choices = wanted;
        rig.replaceChildren(...now.rigs.map(([id, label]) => h('option', {value: id}, label)));
      }
      if (now.seq >= post.seq() && rig.value !== now.rig) rig.value = now.rig;
      show();
    },
  };
}
