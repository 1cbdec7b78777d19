// What the tests do with typage: node age.mjs COMMAND ARGUMENT… <INPUT >OUTPUT

import { readFileSync, writeFileSync } from "node:fs";
import { Decrypter, Encrypter, armor } from "age-encryption";

const commands = {
  async encrypt(input, recipient) {
    const encrypter = new Encrypter();
    encrypter.addRecipient(recipient);
    return encrypter.encrypt(input);
  },
  // An armoured file for a passphrase, at the work factor that age itself uses.
  async protect(input, passphrase) {
    const encrypter = new Encrypter();
    encrypter.setPassphrase(passphrase);
    encrypter.setScryptWorkFactor(18);
    return Buffer.from(armor.encode(await encrypter.encrypt(input)));
  },
  async decrypt(input, identityFile) {
    const decrypter = new Decrypter();
    const lines = readFileSync(identityFile, "utf8").split("\n");
    lines.filter((line) => line.startsWith("AGE-SECRET-KEY-")).forEach((line) => decrypter.addIdentity(line));
    return decrypter.decrypt(input);
  },
};

const [name, ...rest] = process.argv.slice(2);
writeFileSync(1, await commands[name](new Uint8Array(readFileSync(0)), ...rest));
