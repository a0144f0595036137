package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
)

func TestErrorsHaveTheirExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{nil, exitOK, ""},
		{flag.ErrHelp, exitOK, ""},
		{fmt.Errorf("write: %w", syscall.EPIPE), exitOK, ""},
		{errors.New("broken"), exitFailed, "partlogd: broken\n"},
		{tool.Usagef("wrong\n(help)"), exitUsage, "partlogd: wrong\npartlogd: (help)\n"},
	} {
		var b strings.Builder
		require.Equal(t, c.code, exitCode(c.err, &b))
		require.Equal(t, c.says, b.String())
	}
}
