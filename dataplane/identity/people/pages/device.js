// Letting a program in that waits for it, as the command eddy does (RFC 8628).
import { ask, sessionOrSignIn } from "./ask.js";
import { button, element, field, form, show, time } from "./elements.js";

export async function device() {
  const code = decodeURIComponent(location.hash.slice(1));
  if (!(await sessionOrSignIn())) return;
  if (!code) {
    const typed = field("Code that the program shows", { name: "code", autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
    show("Let a program in", form("Go on", [typed], async (said) => void (location.hash = encodeURIComponent(said.code.trim()))));
    return;
  }
  const path = `device/${encodeURIComponent(code)}`;
  const program = await ask("GET", path);
  const decide = async (allow) => {
    await ask("POST", path, { allow });
    history.replaceState(null, "", location.pathname);
    show(allow ? "It is let in" : "It is not let in", element("p", {}, "You may close this page."));
  };
  show(
    "Let a program in?",
    element("p", {}, `“${program.client}” asks to do what you may do, from ${program.address ?? "an unknown address"}, until ${time(program.expiresAt)} to be answered.`),
    element("p", {}, "Let it in only if you have just begun this yourself, and it shows the code ", element("strong", {}, code), "."),
    button("Let it in", () => decide(true), "first"),
    button("Do not", () => decide(false)),
  );
}
