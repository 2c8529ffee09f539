// Do jobs for the tests: one as JSON a line of stdin, its outcome as JSON on a line of stdout, so that
// Node starts once and no secret stands in an argument. Ends with its stdin.
import { createPrivateKey, createPublicKey } from "node:crypto";
import { createInterface } from "node:readline";
import axios from "axios";
import { createSigner, createVerifier } from "fast-jwt";
import * as jose from "jose";
import jsonwebtoken from "jsonwebtoken";

// A key is text, or {base64: "…"} for bytes that are no text.
const plain = (key) => (typeof key === "string" ? key : Buffer.from(key.base64, "base64"));
const bytes = (key) => new Uint8Array(Buffer.from(plain(key)));

const libraries = {
  jsonwebtoken: {
    sign: ({ claims, key, algorithm, kid }) =>
      jsonwebtoken.sign(claims, plain(key), kid ? { algorithm, keyid: kid } : { algorithm }),
    verify({ token, key, algorithm }) {
      const options = { algorithms: [algorithm], complete: true };
      const { payload, header } = jsonwebtoken.verify(token, plain(key), options);
      return { claims: payload, header };
    },
  },
  jose: {
    sign({ claims, key, algorithm, kid }) {
      const header = { alg: algorithm, ...(kid && { kid }), typ: "JWT" };
      const signer = new jose.SignJWT(claims).setProtectedHeader(header);
      return signer.sign(algorithm.startsWith("HS") ? bytes(key) : createPrivateKey(key));
    },
    async verify({ token, key, algorithm }) {
      const material = algorithm.startsWith("HS") ? bytes(key) : createPublicKey(key);
      const { payload, protectedHeader } = await jose.jwtVerify(token, material, { algorithms: [algorithm] });
      return { claims: payload, header: protectedHeader };
    },
  },
  "fast-jwt": {
    sign: ({ claims, key, algorithm, kid }) =>
      createSigner({ key: plain(key), algorithm, ...(kid && { kid }) })(claims),
    verify({ token, key, algorithm }) {
      const options = { key: plain(key), algorithms: [algorithm], complete: true };
      const { payload, header } = createVerifier(options)(token);
      return { claims: payload, header };
    },
  },
};

const jobs = {
  sign: async (job) => ({ token: await libraries[job.library].sign(job) }),
  verify: (job) => libraries[job.library].verify(job),
  async axios({ url, token }) {
    const client = axios.create({ headers: { Authorization: `Bearer ${token}` }, validateStatus: null });
    const { status, data } = await client.get(url);
    return { status, data };
  },
  async fetch({ url, token }) {
    const response = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
    return { status: response.status, data: await response.json() };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line);
  const outcome = await Promise.resolve(job).then(jobs[job.do]).catch((error) => ({ error: error.message }));
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
