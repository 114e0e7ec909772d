package main

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ThalesGroup/crypto11"
)

// pinVariable names the PIN where no file has it.
const pinVariable = "CASEMATE_PKCS11_PIN"

// maxPIN bounds the file with the PIN, in bytes.
const maxPIN = 1 << 10

// options say which key of which token.
type options struct {
	module, token, serial, label string
	id                           []byte
	pin                          string
}

const usage = `usage: casemate-sign-pkcs11 --module FILE --token LABEL --key LABEL [--pin-file FILE] public-key
       casemate-sign-pkcs11 … sign sha256|sha384   (the digest on stdin)
the PIN is in the file, or in the environment variable ` + pinVariable

// parse reads the arguments: those that casemate was given, and the question.
func parse(args []string) (options, []string, error) {
	var o options
	var id, pinFile string
	f := flag.NewFlagSet("casemate-sign-pkcs11", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.module, "module", "", "")
	f.StringVar(&o.token, "token", "", "")
	f.StringVar(&o.serial, "token-serial", "", "")
	f.StringVar(&o.label, "key", "", "")
	f.StringVar(&id, "key-id", "", "")
	f.StringVar(&pinFile, "pin-file", "", "")
	if err := f.Parse(args); err != nil {
		return o, nil, fmt.Errorf("%w\n%s", err, usage)
	}
	var err error
	switch {
	case o.module == "":
		err = errors.New("--module is missing: the PKCS#11 library of the token")
	case (o.token == "") == (o.serial == ""):
		err = errors.New("give --token, the token's label, or --token-serial")
	case o.label == "" && id == "":
		err = errors.New("give --key, the key's label, or --key-id, its id in hex")
	case !asked(f.Args()):
		err = fmt.Errorf("asked for %q: tokens sign with ECDSA keys on P-256 and P-384 only", f.Args())
	}
	if err != nil {
		return o, nil, fmt.Errorf("%w\n%s", err, usage)
	}
	if o.id, err = hex.DecodeString(id); err != nil {
		return o, nil, fmt.Errorf("--key-id: %w", err)
	}
	o.pin, err = readPIN(pinFile)
	return o, f.Args(), err
}

func readPIN(file string) (string, error) {
	if file == "" {
		pin := os.Getenv(pinVariable)
		if pin == "" {
			return "", fmt.Errorf("no PIN: give --pin-file, or set %s", pinVariable)
		}
		return pin, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("--pin-file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPIN+1))
	if err != nil || len(text) > maxPIN {
		return "", errors.Join(fmt.Errorf("--pin-file: not read, or more than %d bytes", maxPIN), err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// open logs in to the token.
func (o options) open() (*crypto11.Context, error) {
	token, err := crypto11.Configure(&crypto11.Config{Path: o.module, TokenLabel: o.token, TokenSerial: o.serial, Pin: o.pin, MaxSessions: 2})
	if err != nil {
		return nil, fmt.Errorf("open the token with %s: %w", o.module, err)
	}
	return token, nil
}
