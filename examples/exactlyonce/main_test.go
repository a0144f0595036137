package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// TestMain is the command itself where killAgainAndAgain starts it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-dir" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// flights stores n flights as ingest does, and returns what the program has to print.
func flights(t *testing.T, dir string, n int) string {
	t.Helper()
	store, err := partition.Open(dir, partition.Config{Sync: partition.SyncNever})
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), "flights", partition.TopicConfig{Partitions: 4})
	require.NoError(t, err)
	p, err := producer.New(store, producer.Config{})
	require.NoError(t, err)
	carriers := []string{"AA", "B6", "UA"}
	minutes, arrived := map[string]int{}, map[string]int{}
	for i := range n {
		row := map[string]string{"carrier": carriers[i%3], "origin": fmt.Sprint(i % 7), "arr_delay": "NA"}
		if i%10 != 9 {
			row["arr_delay"] = fmt.Sprint(i%61 - 20)
			minutes[row["carrier"]] += i%61 - 20
			arrived[row["carrier"]]++
		}
		value, err := json.Marshal(row)
		require.NoError(t, err)
		p.SendAsync(t.Context(), producer.Record{Topic: "flights", Key: []byte(row["origin"]), Value: value}, func(r producer.Result) {
			require.NoError(t, r.Err)
		})
	}
	require.NoError(t, p.Close())
	require.NoError(t, store.Close())
	want := ""
	for _, c := range carriers {
		want += fmt.Sprintln(c, minutes[c], arrived[c])
	}
	return want
}

func TestDelaysAreThoseOfAPlainComputation(t *testing.T) {
	dir := t.TempDir()
	want := flights(t, dir, 1000)
	for range 2 { // the second run finds nothing new, and the same sums
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), options{dir: dir, in: "flights", out: "delays", batch: 30}, &out))
		require.Equal(t, want, out.String())
	}
}

func TestKillsChangeNothing(t *testing.T) {
	dir := t.TempDir()
	want := flights(t, dir, 20_000)
	self, err := os.Executable()
	require.NoError(t, err)
	var out, errs bytes.Buffer
	c := exec.CommandContext(t.Context(), self, "-dir", dir, "-batch", "20", "-kill", "-kills", "5")
	c.Stdout, c.Stderr = &out, &errs
	require.NoError(t, c.Run(), errs.String())
	require.Contains(t, errs.String(), "killed 5 times")
	require.Equal(t, want, out.String())
}
