package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What a client does with a real broker is recorded, and compared with another broker, which answers alike, and with one that
// has not got the topic.
func TestARecordingIsComparedWithAnotherBroker(t *testing.T) {
	file := filepath.Join(t.TempDir(), "recording.jsonl")
	broker := start(t, "--topics", "t:1")
	recorder := start(t, "record", "--bootstrap-server", broker.facts["bootstrap.servers"], "--output", file)
	c, err := kgo.NewClient(kgo.SeedBrokers(recorder.facts["bootstrap.servers"]), kgo.DisableIdempotentWrite())
	require.NoError(t, err)
	produceTo(t, c, "t", "a", "b")
	c.Close()
	require.Equal(t, exitOK, recorder.end(sigterm))
	require.Equal(t, exitOK, broker.end(sigterm))

	same := start(t, "--topics", "t:1")
	code, out, stderr := runProcess(t, "", "compare", file, "--bootstrap-server", same.facts["bootstrap.servers"])
	require.Equal(t, exitOK, code, "%s%s", out, stderr)
	require.Equal(t, exitOK, same.end(sigterm))
	other := start(t, "--override", "auto.create.topics.enable=false", "--override", "listeners=PLAINTEXT://127.0.0.1:0")
	code, out, _ = runProcess(t, "", "compare", file, "--bootstrap-server", other.facts["bootstrap.servers"])
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "ErrorCode")
	require.Equal(t, exitOK, other.end(sigterm))

	replayed := start(t, "replay", file)
	c, err = kgo.NewClient(kgo.SeedBrokers(replayed.facts["bootstrap.servers"]))
	require.NoError(t, err)
	defer c.Close()
	require.Error(t, c.Ping(t.Context()), "its greeting is answered; what it asks then is not in the recording")
	require.Equal(t, exitOK, replayed.end(sigterm))
	require.Contains(t, replayed.err.String(), "not in the recording: Metadata")
}
