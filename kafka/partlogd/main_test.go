package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
)

func TestTheFirstSignalEndsTheContextAndTheSecondTheProcess(t *testing.T) {
	codes := make(chan int, 1)
	ctx, stop := untilSignal(context.Background(), func(code int) { codes <- code })
	defer stop()
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
	<-ctx.Done()
	require.Empty(t, codes)
	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
	require.Equal(t, exitAtOnce, <-codes)
}

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
