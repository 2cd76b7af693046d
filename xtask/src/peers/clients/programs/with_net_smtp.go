// Delivers one message with net/smtp, over a transport and by a mechanism that are named.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/smtp"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	host, port, transport, mechanism := args[0], args[1], args[2], args[3]
	user, secret, ca, from, to, path := args[4], args[5], args[6], args[7], args[8], args[9]
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{ServerName: host, RootCAs: roots}
	connection, err := dial(net.JoinHostPort(host, port), transport, config)
	if err != nil {
		return err
	}
	client, err := smtp.NewClient(connection, host)
	if err != nil {
		return err
	}
	if err := client.Hello("client.test"); err != nil {
		return err
	}
	if transport == "starttls" {
		if err := client.StartTLS(config); err != nil {
			return err
		}
	}
	switch mechanism {
	case "PLAIN":
		err = client.Auth(smtp.PlainAuth("", user, secret, host))
	case "CRAM-MD5":
		err = client.Auth(smtp.CRAMMD5Auth(user, secret))
	}
	if err != nil {
		return err
	}
	return deliver(client, from, to, path)
}

func dial(address, transport string, config *tls.Config) (net.Conn, error) {
	if transport == "implicit" {
		return tls.Dial("tcp", address, config)
	}
	return net.Dial("tcp", address)
}

func deliver(client *smtp.Client, from, to, path string) error {
	message, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := client.Mail(from); err != nil {
		return err
	}
	if err := client.Rcpt(to); err != nil {
		return err
	}
	data, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := data.Write(message); err != nil {
		return err
	}
	if err := data.Close(); err != nil {
		return err
	}
	return client.Quit()
}
