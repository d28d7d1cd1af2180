// Taking an invitation, which is after the # of the link: no server sees it there, and no log.
import { ask } from "./ask.js";
import { button, element, field, form, say, show, time } from "./elements.js";
import { create, hasPasskeys } from "./passkeys.js";

export async function invitation() {
  const secret = decodeURIComponent(location.hash.slice(1));
  if (!secret) {
    show("Invitation", element("p", {}, "This link is not whole: what is after the # is the invitation."));
    return;
  }
  const invited = await ask("GET", `invitation?invitation=${encodeURIComponent(secret)}`);
  const providers = await ask("GET", "providers");

  const byPasskey = async () => {
    const { ceremony, publicKey } = await ask("POST", "invitation/passkey/options", { invitation: secret });
    taken(await ask("POST", "invitation/passkey", { ceremony, credential: await create(publicKey), name: "" }));
  };
  const byPassword = async ({ password }) => taken(await ask("POST", "invitation", { invitation: secret, password }));
  const by = async (provider) => {
    const { location: place } = await ask("POST", "invitation/provider", { invitation: secret, provider, return: "/auth/account" });
    location.assign(place);
  };

  const password = [
    // For whatever keeps passwords.
    element("input", { type: "hidden", name: "user", autocomplete: "username", value: invited.user }),
    field("Password", { name: "password", type: "password", autocomplete: "new-password" }),
  ];
  show(
    `Welcome, ${invited.user}`,
    element("p", {}, invited.by ? `${invited.by} has invited you.` : "You are invited.", ` Until ${time(invited.expiresAt)} you may choose how you sign in.`),
    element("p", {}, "Whatever else one could sign in by under this name is forgotten then."),
    hasPasskeys() ? button("Use a passkey", byPasskey, "first wide") : undefined,
    providers.map(({ name, title }) => button(`Use ${title}`, () => by(name), "wide")),
    element("hr"),
    form("Use a password", password, byPassword, ""),
  );
}

function taken({ recoveryCodes }) {
  history.replaceState(null, "", location.pathname);
  codes(recoveryCodes, () => location.assign("/auth/account"));
}

/** Shows recovery codes, this once. */
export function codes(all, then) {
  const copy = async () => {
    await navigator.clipboard.writeText(all.join("\n"));
    say("They are copied.", "done");
  };
  show(
    "Recovery codes",
    element("p", {}, "Each signs you in once when everything else is lost. Keep them apart from this device: they are not shown again."),
    element("ul", { class: "codes" }, all.map((code) => element("li", {}, code))),
    button("Copy", copy),
    button("I have kept them", then, "first"),
  );
}
