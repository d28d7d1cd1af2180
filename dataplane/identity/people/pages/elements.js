// Elements of pages. All text is text, whoever said it.

/** An element with these attributes and children; what begins with "on" is called then. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), alerting(value));
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== undefined));
  return made;
}

/** A button; `label` where its text alone does not say of what. */
export const button = (text, onclick, kind = "", label = undefined) =>
  element("button", { type: "button", class: kind, onclick, "aria-label": label }, text);

/** A field with its label. */
export function field(label, attributes) {
  const id = `field-${attributes.name}`;
  return [element("label", { for: id }, label), element("input", { id, required: true, ...attributes })];
}

/** A form that does something with what was typed. */
export function form(text, fields, send, kind = "first") {
  const onsubmit = async (event) => {
    event.preventDefault();
    await send(Object.fromEntries(new FormData(event.target)));
  };
  return element("form", { onsubmit }, fields.flat(), element("button", { class: kind }, text));
}

/** Shows a page in the place of the one before. */
export function show(title, ...content) {
  document.title = `${title} · Eddy`;
  const heading = element("h1", { tabindex: "-1" }, title);
  const alert = element("div", { id: "alert", role: "alert" });
  document.getElementById("main").replaceChildren(heading, alert, ...content.flat().filter((one) => one !== undefined));
  // Whoever hears pages hears that this is another.
  heading.focus();
}

/** The same work, whose failures are shown; what was clicked waits meanwhile. */
export function alerting(work) {
  return async (event) => {
    const waits = event?.submitter ?? (event?.type === "click" ? event.currentTarget : undefined);
    say("");
    if (waits) waits.disabled = true;
    try {
      await work(event);
    } catch (error) {
      if (!document.getElementById("alert")) show("This did not work", element("a", { class: "button", href: "" }, "Try again"));
      say(error.message);
    } finally {
      if (waits) waits.disabled = false;
      if (document.activeElement === document.body) waits?.focus();
    }
  };
}

/** Says something at the top of the page: that it did not work, and why. */
export function say(text, kind = "alert") {
  document.getElementById("alert")?.replaceChildren(...(text ? [element("p", { class: kind }, text)] : []));
}

/** Asks whether it is really whoever signed in, over the page: their password, if they have one; nothing where that is left. */
export function confirmed(hasPassword, signInAgain) {
  return new Promise((resolve) => {
    const typed = field("Your password", { name: "confirm", type: "password", autocomplete: "current-password" });
    const said = async ({ confirm }) => {
      resolve(confirm);
      dialog.close();
    };
    const left = () => {
      dialog.remove();
      resolve(undefined);
    };
    const dialog = element(
      "dialog",
      { onclose: left, "aria-label": "Is it you?" },
      element("p", {}, "You signed in a while ago. Is it you?"),
      hasPassword ? form("Go on", [typed], said) : [],
      button("Sign in again", signInAgain),
      button("Leave it", () => dialog.close()),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A time as people here write it. */
export const time = (text) => (text ? new Date(text).toLocaleString() : "never");
