package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/kafka"
)

func TestFailedLoginsAreToldAsOftenAsOneCanRead(t *testing.T) {
	var lines []string
	now := clock.NewManual(time.Now())
	r := refusals{clock: now, warn: func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }}
	fail := func(n int, limited bool) {
		for range n {
			r.tell(1, "SASL_PLAINTEXT", kafka.ConnInfo{Remote: "192.0.2.7:5"},
				kafka.FailedLogin{Mechanism: "PLAIN", User: "mallory\n", Limited: limited, Err: kafka.ErrAuthenticationFailed})
		}
	}
	fail(100, false)
	require.Len(t, lines, refusalLines)
	require.Contains(t, lines[0], `broker 1: login of "mallory\n" from 192.0.2.7:5 by PLAIN has failed on SASL_PLAINTEXT: `)
	now.Advance(refusalPause)
	fail(5, true)
	require.Len(t, lines, refusalLines+1)
	require.True(t, strings.HasSuffix(lines[refusalLines], "its password was not looked at (90 more before it)"), lines[refusalLines])
	now.Advance(time.Hour)
	fail(100, false)
	require.Len(t, lines, 2*refusalLines+1)
	require.Contains(t, lines[refusalLines+1], "(4 more before it)")
}
