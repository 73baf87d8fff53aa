// What a person who sees badly, or uses the keyboard alone, would stumble over on a page: a list of
// words, empty where there is nothing. Evaluated within the page by the tests.
() => {
  const found = [];
  const say = (what, element) => found.push(`${what}: ${element.outerHTML.slice(0, 120)}`);
  const visible = (element) => element.checkVisibility({ visibilityProperty: true });

  // Names: by label, aria-label, aria-labelledby or content.
  const words = (element) => {
    const by = element.getAttribute("aria-labelledby");
    const named = by && by.split(" ").map((id) => document.getElementById(id)?.textContent).join("");
    const alt = [...element.querySelectorAll("img")].map((image) => image.alt).join("");
    const labels = [...(element.labels ?? [])].map((label) => label.textContent).join("");
    const own = /^(A|BUTTON|SUMMARY)$/.test(element.tagName) ? element.textContent + alt : "";
    return (named || element.getAttribute("aria-label") || labels || own).trim();
  };
  const controls = "a[href], button, summary, input:not([type=hidden]), select, textarea, [tabindex='0'], progress, [role=img], [role=group]";
  for (const one of document.querySelectorAll(controls)) if (!words(one)) say("no name", one);
  for (const one of document.querySelectorAll("img:not([alt])")) say("no alt", one);
  for (const one of document.querySelectorAll("[tabindex]")) if (one.tabIndex > 0) say("own order", one);
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`twice: ${id}`);
  for (const one of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
    const all = `${one.getAttribute("aria-labelledby") ?? ""} ${one.getAttribute("aria-describedby") ?? ""}`;
    for (const id of all.trim().split(/\s+/)) if (!ids.includes(id)) say(`names ${id}, which is not there`, one);
  }

  // Headings: one of the first level, and none left out on the way down.
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((one) => Number(one.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) found.push(`first headings: ${levels}`);
  levels.forEach((level, at) => level > (levels[at - 1] ?? 0) + 1 && found.push(`headings: ${levels}`));

  // Contrast, by WCAG 2.2: text on what lies behind it, all of it plain colours here.
  const colour = (text) => {
    const [red, green, blue, alpha = 1] = text.match(/[\d.]+/g).map(Number);
    return { rgb: [red, green, blue], alpha };
  };
  const over = (top, under) => top.rgb.map((value, at) => value * top.alpha + under[at] * (1 - top.alpha));
  const ground = (element) => {
    if (!element) return [255, 255, 255];
    const own = colour(getComputedStyle(element).backgroundColor);
    return own.alpha === 1 ? own.rgb : over(own, ground(element.parentElement));
  };
  const light = (rgb) => {
    const [red, green, blue] = rgb.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const drawn = element.closest("svg.marks"); // white with a black edge, on any picture
    if (!texts.currentNode.data.trim() || seen.has(element) || drawn || !visible(element)) continue;
    seen.add(element);
    const style = getComputedStyle(element);
    if (element.closest("script, style, option, :disabled, [aria-disabled=true]")) continue;
    const behind = ground(element);
    const ink = colour(element.closest("svg") ? style.fill : style.color);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const reached = ratio(over(ink, behind), behind);
    if (reached < (large ? 3 : 4.5)) say(`contrast ${reached.toFixed(2)}`, element);
  }
  // What a control is recognised by: its edge, or its ground, against what it lies on.
  for (const one of document.querySelectorAll("button, .button, input:not([type=hidden], [type=checkbox], [type=range]), select, textarea")) {
    if (!visible(one) || one.disabled) continue;
    const style = getComputedStyle(one);
    const around = ground(one.parentElement);
    const plain = colour(style.borderTopColor).alpha === 0 && one.textContent.trim(); // its words say it
    const edge = over(colour(style.borderTopColor), around);
    if (!plain && Math.max(ratio(edge, around), ratio(ground(one), around)) < 3) say("faint edge", one);
  }

  // Targets: 24 by 24 pixels at least, but for links within text.
  for (const one of document.querySelectorAll("button, .button, select, summary, input:not([type=hidden])")) {
    if (!visible(one) || one.closest(".unseen")) continue;
    const { width, height } = (one.closest("label") ?? one).getBoundingClientRect();
    if (width < 24 || height < 24) say(`small (${width.toFixed()} x ${height.toFixed()})`, one);
  }
  return found;
}
