// Signing in: by a passkey, another provider, a password, a recovery code.
import { ask, returnPlace } from "./ask.js";
import { button, element, field, form, show } from "./elements.js";
import { get, hasPasskeys } from "./passkeys.js";

const go = () => location.assign(returnPlace());
const user = () => field("Name", { name: "user", autocomplete: "username", autocapitalize: "none", spellcheck: "false" });

async function byPasskey() {
  const { ceremony, publicKey } = await ask("POST", "passkey/options");
  await ask("POST", "passkey", { ceremony, credential: await get(publicKey) });
  go();
}

async function byPassword(typed) {
  await ask("POST", "password", typed);
  go();
}

async function byCode(typed) {
  await ask("POST", "recovery", typed);
  go();
}

function recover() {
  const fields = [user(), field("Recovery code", { name: "code", autocomplete: "off", autocapitalize: "none", spellcheck: "false" })];
  show(
    "Recovery code",
    element("p", {}, "Each code signs you in once. Then set a password, or register a passkey."),
    form("Sign in", fields, byCode),
    button("Back", signIn),
  );
}

export async function signIn() {
  const providers = await ask("GET", "providers");
  const asked = new URLSearchParams({ return: returnPlace() });
  if (new URLSearchParams(location.search).get("again") === "true") asked.set("again", "true");
  const links = providers.map(({ name, title }) =>
    element("a", { class: "button wide", href: `/auth/v1/providers/${encodeURIComponent(name)}?${asked}` }, `Sign in by ${title}`),
  );
  const fields = [user(), field("Password", { name: "password", type: "password", autocomplete: "current-password" })];
  show(
    "Sign in",
    hasPasskeys() ? button("Sign in by a passkey", byPasskey, "first wide") : undefined,
    links,
    element("hr"),
    form("Sign in", fields, byPassword, ""),
    button("I have lost everything else", recover),
  );
}
