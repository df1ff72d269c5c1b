// The frame of the panel. It loads the parts, keeps what they share, and redraws on animation frames only.
// A part is a module with one default function (host, shared) that returns {update(changed), draw(), dispose()}.

const PARTS = [
  'header',
  'facts',
  'rig',
  'settings',
  'headline',
  'memory',
  'throughput',
  'where',
  'tensors',
  'splits',
  'findings',
  'command',
];
const STATE = [
  'about',
  'controls',
  'header',
  'facts',
  'rig',
  'headline',
  'memory',
  'tensors',
  'splits',
  'pinned',
  'throughput',
  'findings',
  'command',
];

async function load(sources, name) {
  const blob = new Blob([sources[name], `\n//# sourceURL=ikexplore/${name}.js`], {type: 'text/javascript'});
  const url = URL.createObjectURL(blob);
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Light or dark: what JupyterLab or VS Code say, else what the system prefers. */
function themeOf(body) {
  const lab = body.getAttribute('data-jp-theme-light');
  if (lab !== null) return lab === 'false' ? 'dark' : 'light';
  if (body.classList.contains('vscode-dark')) return 'dark';
  if (body.classList.contains('vscode-light')) return 'light';
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

function skeleton(h) {
  const part = (name, tag, attrs) => h(tag, {class: name, ...attrs});
  const nodes = {
    header: part('head', 'header'),
    settings: part('settings', 'aside', {'aria-label': 'Settings'}),
    headline: part('kpis', 'div'),
    facts: part('view facts', 'section', {'aria-label': 'Model', hidden: true}),
    rig: part('view rigview', 'section', {'aria-label': 'Rig', hidden: true}),
    memory: part('memory', 'section', {'aria-label': 'Memory'}),
    where: part('where', 'div', {hidden: true}),
    throughput: part('thru', 'section', {'aria-label': 'Throughput'}),
    tensors: part('place', 'section', {'aria-label': 'Tensors'}),
    splits: part('splits', 'section', {'aria-label': 'Splits'}),
    findings: part('finds', 'section', {'aria-label': 'Findings'}),
    command: part('foot', 'footer'),
  };
  const notice = h('div', {class: 'notice', role: 'alert', hidden: true});
  const work = h(
    'div',
    {class: 'work'},
    nodes.headline,
    nodes.facts,
    nodes.rig,
    nodes.memory,
    nodes.throughput,
    nodes.tensors,
    nodes.splits,
    nodes.findings,
  );
  const say = h('div', {class: 'vh', 'aria-live': 'polite'});
  const attrs = {class: 'ikx', role: 'region', 'aria-label': 'ikexplore explorer'};
  const frame = h('div', {class: 'frame'}, nodes.header, notice, nodes.settings, work, nodes.command);
  return {nodes, notice, say, root: h('div', attrs, frame, say)};
}

async function render({model, el}) {
  const sources = model.get('_parts');
  const kit = await load(sources, 'kit'),
    rules = await load(sources, 'rules');
  const {nodes, notice, say, root} = skeleton(kit.h);
  root.dataset.theme = themeOf(document.body);
  el.append(root);

  const state = {},
    parts = {},
    stale = new Set(),
    off = [];
  let frame = 0,
    redraw = false,
    problem = '',
    closed = false,
    palette = new Map();
  const schedule = () => {
    if (!frame && !closed) frame = requestAnimationFrame(paint);
  };
  /** Without its kernel the panel is a picture; say so, and that nothing runs any more. */
  function gone() {
    problem = 'The kernel behind this panel is gone. Run the cell again for a live one.';
    if (state.header)
      state.header = {...state.header, running: false, doing: false, can_run: false, status: '', done: 0};
    stale.add('header');
    schedule();
  }
  const shared = {
    kit,
    rules,
    root,
    nodes,
    state,
    say: value => kit.text(say, value),
    post: kit.makePost(model, gone),
    tip: kit.makeTip(root),
    redraw: () => {
      redraw = true;
      schedule();
    },
    colours: name => {
      if (!palette.has(name)) palette.set(name, getComputedStyle(root).getPropertyValue(name).trim());
      return palette.get(name);
    },
    font: () => getComputedStyle(root).fontFamily,
    fail: error => {
      problem = String((error && error.message) || error)
        .split('\n')[0]
        .slice(0, 300);
      console.error(error);
      schedule();
    },
  };
  shared.axis = kit.makeAxis(shared.redraw);

  function showNotice() {
    const message = problem || (state.header && state.header.error) || '';
    notice.hidden = !message;
    if (!message) {
      notice.replaceChildren();
      return;
    }
    if (notice.firstChild && notice.firstChild.textContent === message) return;
    const close = kit.h(
      'button',
      {
        class: 'link sm',
        onclick: () => {
          problem = '';
          shared.post.send('dismiss');
          showNotice();
        },
      },
      'dismiss',
    );
    notice.replaceChildren(kit.h('span', {}, message), close);
  }
  function guarded(work) {
    try {
      work();
    } catch (error) {
      shared.fail(error);
    }
  }
  function paint() {
    frame = 0;
    const changed = new Set(stale),
      again = redraw || changed.size > 0;
    stale.clear();
    redraw = false;
    if (changed.has('about')) shared.axis.reset(state.about.n_layer, state.about.edge);
    for (const part of Object.values(parts)) {
      if (changed.size) guarded(() => part.update(changed));
      if (again && part.draw) guarded(() => part.draw());
    }
    showNotice();
    root.dataset.running = state.header && state.header.running ? '1' : '0';
    root.dataset.ready = '1';
  }

  for (const name of PARTS) {
    const part = await load(sources, name);
    if (closed) return undefined;
    guarded(() => {
      parts[name] = part.default(nodes[name], shared);
    });
  }
  const file = message => {
    if (message && message.kind === 'file') kit.saveFile(message).catch(shared.fail);
  };
  model.on('msg:custom', file);
  off.push(() => model.off('msg:custom', file));
  for (const name of STATE) {
    const take = () => {
      state[name] = model.get(name);
      stale.add(name);
      schedule();
    };
    model.on(`change:${name}`, take);
    off.push(() => model.off(`change:${name}`, take));
    state[name] = model.get(name);
    stale.add(name);
  }
  paint();

  const sized = new ResizeObserver(() => shared.redraw());
  sized.observe(root);
  const themed = new MutationObserver(() => {
    // JupyterLab swaps its style sheet a moment after the attribute: take the new colours then, too
    const again = () => {
      root.dataset.theme = themeOf(document.body);
      palette = new Map();
      shared.redraw();
    };
    again();
    requestAnimationFrame(() => requestAnimationFrame(again));
  });
  themed.observe(document.body, {
    attributes: true,
    attributeFilter: ['data-jp-theme-light', 'data-jp-theme-name', 'class'],
  });
  return () => {
    closed = true;
    cancelAnimationFrame(frame);
    sized.disconnect();
    themed.disconnect();
    off.forEach(f => f());
    shared.post.dispose();
    for (const part of Object.values(parts)) if (part.dispose) part.dispose();
    root.remove();
  };
}

export default {render};
