// Passkeys: what the platform asks, by the browser, of an authenticator (https://www.w3.org/TR/webauthn-3/).

export const hasPasskeys = () => Boolean(window.PublicKeyCredential?.parseCreationOptionsFromJSON);

/** Registers a passkey as these options have it. */
export const create = (options) => ceremony(() => navigator.credentials.create({ publicKey: creation(options) }));

/** Shows a passkey. */
export const get = (options) => ceremony(() => navigator.credentials.get({ publicKey: request(options) }));

async function ceremony(work) {
  try {
    return (await work()).toJSON();
  } catch (error) {
    if (error.name === "InvalidStateError") throw new Error("this device has a passkey of yours already");
    if (error.name === "NotAllowedError") throw new Error("no passkey was used: it was cancelled, took too long, or there is none here");
    throw error;
  }
}

const creation = (options) => PublicKeyCredential.parseCreationOptionsFromJSON(options);
const request = (options) => PublicKeyCredential.parseRequestOptionsFromJSON(options);
