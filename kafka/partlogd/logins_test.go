package main

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// Of an address that may fail once in ten seconds, the third wrong password is not looked at any more: without the flag that would be so after a hundred.
func TestALimitOfFailedLoginsThatAFlagSetsActs(t *testing.T) {
	p := start(t, "--user", "alice:right", "--login-failures-per-address", "0.1", "--login-failures-per-user", "-1")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	for range 8 { // at a time: each is answered the later, the more have failed
		c := p.client(kgo.SASL(plain.Auth{User: "alice", Pass: "wrong"}.AsMechanism()))
		all.Go(func() { _ = c.Ping(ctx) })
	}
	for !strings.Contains(p.err.String(), "its password was not looked at") {
		require.NoError(t, ctx.Err(), p.err.String())
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	p.end(syscall.SIGKILL) // the answers are still waited for
	for _, bad := range []string{"0", "-2", "much"} {
		code, _, stderr := runProcess(t, "", "--memory", "--login-failures-per-user", bad)
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, "want a number a second")
	}
}
