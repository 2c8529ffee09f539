// Sign or verify with Node's jsonwebtoken. Reads a list of jobs as JSON from stdin, so that no secret
// stands in an argument, and writes a list of outcomes: {token}, {claims, header} or {error}.
"use strict";
const jwt = require("jsonwebtoken");

// A key is text, or {base64: "…"} for bytes that are no text.
const key = (given) => (typeof given === "string" ? given : Buffer.from(given.base64, "base64"));

function outcome(job) {
  try {
    if (job.do === "sign") return { token: jwt.sign(job.claims, key(job.key), job.options) };
    const { payload, header } = jwt.verify(job.token, key(job.key), { ...job.options, complete: true });
    return { claims: payload, header };
  } catch (error) {
    return { error: error.message };
  }
}

const jobs = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(jobs.map(outcome)));
