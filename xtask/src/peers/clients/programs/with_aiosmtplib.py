"""Delivers one message with aiosmtplib, over a transport and by a mechanism that are named."""
import asyncio
import ssl
import sys

import aiosmtplib

host, port, transport, mechanism, user, secret, ca, sender, to, path = sys.argv[1:]


async def main():
    smtp = aiosmtplib.SMTP(
        hostname=host,
        port=int(port),
        local_hostname="client.test",
        use_tls=transport == "implicit",
        start_tls=transport == "starttls",
        tls_context=ssl.create_default_context(cafile=ca),
    )
    async with smtp:
        await smtp.ehlo()
        if mechanism != "none":
            prove = getattr(smtp, "auth_" + mechanism.lower().replace("-", ""))
            await prove(user, secret)
        with open(path, "rb") as message:
            await smtp.sendmail(sender, [to], message.read())


asyncio.run(main())
