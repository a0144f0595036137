package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQuickstartRunsTwiceInTheSameDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, run(t.Context(), dir))
	require.NoError(t, run(t.Context(), dir))
	require.NoError(t, run(t.Context(), ""))
}
