// Package smoke is what the smoke tests of the Go clients have in common.
package smoke

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"
)

// Patience bounds what hangs; nothing is measured by it.
const Patience = 2 * time.Minute

// Addresses returns those of the listeners that the environment names: BOOTSTRAP, SASL_BOOTSTRAP or TLS_BOOTSTRAP.
func Addresses(name string) []string { return strings.Split(os.Getenv(name), ",") }

// TLS trusts the authority of CA_FILE.
func TLS() *tls.Config {
	pem, err := os.ReadFile(os.Getenv("CA_FILE"))
	Must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// Patiently is a context for one step.
func Patiently() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(Patience, cancel)
	return ctx
}

// Must ends the process if there is an error.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Got is Must for calls that return something.
func Got[T any](v T, err error) T {
	Must(err)
	return v
}

// Check ends the process unless got is want.
func Check(what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		panic(fmt.Sprintf("%s: got %.2000v, want %.2000v", what, got, want))
	}
	fmt.Println("ok ", what)
}

// Until calls step until done returns true.
func Until(what string, done func() bool, step func()) {
	end := time.Now().Add(Patience)
	for !done() {
		if time.Now().After(end) {
			panic(what + ": not within " + Patience.String())
		}
		step()
	}
	fmt.Println("ok ", what)
}

// Record is a record whatever client has it.
type Record struct{ Key, Value, Header string }

// Records returns n records, one of them large, for a codec.
func Records(codec string, n int) []Record {
	rs := make([]Record, n)
	for i := range rs {
		v := strings.Repeat(fmt.Sprintf("%s %d ", codec, i), 20)
		if i == 7 {
			v = strings.Repeat("x", 100_000)
		}
		rs[i] = Record{Key: fmt.Sprintf("%s-%03d", codec, i), Value: v, Header: fmt.Sprint(i)}
	}
	return rs
}
