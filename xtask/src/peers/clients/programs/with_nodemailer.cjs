// Delivers one message with nodemailer, over a transport and by a mechanism that are named.
const fs = require("node:fs");
const [host, port, transport, mechanism, user, secret, ca, from, to, path, modules] =
  process.argv.slice(2);
const nodemailer = require(modules + "/nodemailer");
const auth = {
  none: undefined,
  XOAUTH2: { type: "OAuth2", user, accessToken: secret },
}[mechanism];
const transporter = nodemailer.createTransport({
  host,
  port: Number(port),
  name: "client.test",
  secure: transport === "implicit",
  requireTLS: transport === "starttls",
  ignoreTLS: transport === "clear",
  tls: { ca: fs.readFileSync(ca) },
  authMethod: mechanism === "none" ? undefined : mechanism,
  auth: mechanism === "none" || auth ? auth : { user, pass: secret },
});
transporter
  .sendMail({ envelope: { from, to }, raw: fs.readFileSync(path) })
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
