"""Delivers one message with smtplib, over a transport and by a mechanism that are named."""
import smtplib
import ssl
import sys

host, port, transport, mechanism, user, secret, ca, sender, to, path = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if transport == "implicit":
    smtp = smtplib.SMTP_SSL(host, int(port), "client.test", context=context)
else:
    smtp = smtplib.SMTP(host, int(port), "client.test")
with smtp, open(path, "rb") as message:
    if transport == "starttls":
        smtp.starttls(context=context)
    smtp.ehlo_or_helo_if_needed()
    if mechanism != "none":
        smtp.user, smtp.password = user, secret
        answers = getattr(smtp, "auth_" + mechanism.lower().replace("-", "_"))
        smtp.auth(mechanism, answers)
    smtp.sendmail(sender, [to], message.read())
