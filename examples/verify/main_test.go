package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

func newStore(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	store, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	p, err := producer.New(store, producer.Config{})
	require.NoError(t, err)
	for range 10 {
		_, err := p.Send(t.Context(), producer.Record{Topic: "t", Value: bytes.Repeat([]byte("x"), 100)})
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
	require.NoError(t, store.Close())
	return dir
}

func TestVerifyFindsNoDamageInASoundStore(t *testing.T) {
	var out bytes.Buffer
	damaged, err := run(t.Context(), newStore(t), false, &out)
	require.NoError(t, err)
	require.False(t, damaged, out.String())
	require.Contains(t, out.String(), "10 records")
	require.Contains(t, out.String(), "no damage")
}

func TestVerifyNamesTheFileAndThePlaceOfAFlippedBit(t *testing.T) {
	dir := newStore(t)
	file := filepath.Join(dir, "data", "t-0", "00000000000000000000.log")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	content[len(content)/2] ^= 4
	require.NoError(t, os.WriteFile(file, content, 0o600))

	var out bytes.Buffer
	damaged, err := run(t.Context(), dir, false, &out)
	require.NoError(t, err)
	require.True(t, damaged)
	require.Contains(t, out.String(), "00000000000000000000.log at byte ")

	out.Reset()
	damaged, err = run(t.Context(), dir, true, &out)
	require.NoError(t, err)
	require.True(t, damaged)
	var report partition.VerifyReport
	require.NoError(t, json.Unmarshal(out.Bytes(), &report))
	require.NotEmpty(t, report.Partitions[0].Findings)
}
