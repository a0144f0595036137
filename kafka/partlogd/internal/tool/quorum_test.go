package tool

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/quorum"
)

// quorumOf makes the directory of a node that is one of three voters.
func quorumOf(t *testing.T) string {
	dir := t.TempDir()
	voters := []quorum.Member{{Node: 1}, {Node: 2}, {Node: 3}}
	require.NoError(t, quorum.Bootstrap(quorum.Config{Dir: filepath.Join(dir, "quorum")}, voters[0], voters, nil))
	return dir
}

func TestQuorumDumpShowsVotersWithoutAChange(t *testing.T) {
	dir := quorumOf(t)
	var out bytes.Buffer
	require.NoError(t, quorumCommand(t.Context(), []string{"dump", dir}, Streams{Out: &out}))
	require.Contains(t, out.String(), "voters [1 2 3]")
	require.Error(t, quorumCommand(t.Context(), []string{"dump", t.TempDir()}, Streams{Out: &out}))
}

func TestQuorumRecoverWantsItsWords(t *testing.T) {
	dir := quorumOf(t)
	ask := func(in string, args ...string) (string, error) {
		var out bytes.Buffer
		err := quorumCommand(t.Context(), append([]string{"recover", dir}, args...), Streams{In: strings.NewReader(in), Out: &out})
		return out.String(), err
	}
	out, err := ask("")
	require.ErrorContains(t, err, "not confirmed")
	require.Contains(t, out, "lost voters: [2 3]")
	_, words, _ := strings.Cut(strings.TrimSpace(out), "type: ")
	_, err = ask("yes\n")
	require.ErrorContains(t, err, "not confirmed")
	out, err = ask(words + "\n")
	require.NoError(t, err)
	require.Contains(t, out, "only voter now")
	out, err = ask("", "--confirm", "x")
	require.ErrorContains(t, err, "not confirmed")
	require.NotContains(t, out, "lost voters")
	var usage *UsageError
	require.ErrorAs(t, quorumCommand(t.Context(), []string{"dump"}, Streams{Out: &bytes.Buffer{}}), &usage)
	require.ErrorAs(t, quorumCommand(t.Context(), []string{"vote", dir}, Streams{Out: &bytes.Buffer{}}), &usage)
}
