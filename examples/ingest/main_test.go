package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/partition"
)

func ingest(t *testing.T, dir, topic, text string) (bad int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	o := options{dir: dir, topic: topic, key: "city", compression: "zstd", partitions: 1}
	bad, err := run(t.Context(), o, &input{Reader: strings.NewReader(text)}, &out, &errs)
	require.NoError(t, err)
	return bad, out.String(), errs.String()
}

// stored returns "key=value" of every record of a topic with one partition.
func stored(t *testing.T, dir, topic string) (got []string) {
	t.Helper()
	store, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	tp := partition.TopicPartition{Topic: topic}
	c, err := consumer.Assign(t.Context(), store, []consumer.Assignment{{TopicPartition: tp, Until: consumer.UntilEnd()}}, consumer.Config{})
	require.NoError(t, err)
	defer c.Close()
	for r, err := range consumer.Records(t.Context(), c, consumer.String, consumer.String) {
		require.NoError(t, err)
		key := r.Key
		if r.KeyNull {
			key = "null"
		}
		got = append(got, key+"="+r.Value)
	}
	return got
}

func TestEveryGoodRowIsStoredAndEveryBadOneIsNamedByItsLine(t *testing.T) {
	dir := t.TempDir()
	bad, stdout, stderr := ingest(t, dir, "csv", "id,city\n1,Oslo\n2\n3,\"New\nYork\"\n4,a\"b\n5,\n")
	require.Equal(t, 2, bad)
	require.Equal(t, "line 3: wrong number of fields\nline 6: bare \" in non-quoted-field\n", stderr)
	require.Contains(t, stdout, "3 records")
	require.Contains(t, stdout, "2 bad rows skipped")
	require.Equal(t, []string{`Oslo={"id":"1","city":"Oslo"}`, "New\nYork={\"id\":\"3\",\"city\":\"New\\nYork\"}", `={"id":"5","city":""}`}, stored(t, dir, "csv"))

	bad, _, stderr = ingest(t, dir, "json", "{\"city\":\"Oslo\",\"n\":1}\n\n{\"n\":2}\n{\"city\":null}\n{oops\n{\"city\":7}")
	require.Equal(t, 2, bad)
	require.Contains(t, stderr, `line 3: no field "city"`)
	require.Contains(t, stderr, "line 5: ")
	require.Equal(t, []string{`Oslo={"city":"Oslo","n":1}`, `null={"city":null}`, `7={"city":7}`}, stored(t, dir, "json"))
}

func TestInputWithoutTheColumnIsRefused(t *testing.T) {
	var out bytes.Buffer
	for _, text := range []string{"", "id,town\n1,x\n"} {
		_, err := run(t.Context(), options{dir: t.TempDir(), topic: "t", key: "city", compression: "none", partitions: 1},
			&input{Reader: strings.NewReader(text)}, &out, &out)
		require.Error(t, err)
	}
}
