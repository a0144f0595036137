package main

import (
	"bytes"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBalancesEqualTheEventsAlsoInTheNextRunAndWhenRebuilt(t *testing.T) {
	dir := t.TempDir()
	for i, rebuild := range []bool{false, false, true} {
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), dir, rebuild, &out), "run %d", i)
		require.Regexp(t, `8 tellers: \d+ changes, \d+ times somebody else was first`, out.String())
		require.Len(t, regexp.MustCompile(`account-\d: +\d+ events`).FindAllString(out.String(), -1), accounts)
	}
}
