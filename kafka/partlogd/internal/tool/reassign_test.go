package tool

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// A proposal has each replica of a partition in another rack, as far as there are racks, and as many replicas as there are now.
func TestAProposalIsSpreadOverRacks(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Brokers(6), kafkatest.Racks("x", "y", "z"), kafkatest.Property("default.replication.factor", "2"), kafkatest.Topic("a", 12), kafkatest.Topic("b", 1))
	file := filepath.Join(t.TempDir(), "topics.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"topics":[{"topic":"a"},{"topic":"b"}],"version":1}`), 0o600))
	propose := func(more ...string) (current, proposed reassignment, err error) {
		out, _, err := run(t, "cluster", "", append([]string{"reassign", "--generate", "--topics-to-move-json-file", file, "--bootstrap-server", c.Bootstrap()}, more...)...)
		if err != nil {
			return current, proposed, err
		}
		first, second, ok := strings.Cut(strings.TrimPrefix(out, "Current partition replica assignment\n"), "\n\nProposed partition reassignment configuration\n")
		require.True(t, ok, out)
		require.NoError(t, json.Unmarshal([]byte(first), &current))
		require.NoError(t, json.Unmarshal([]byte(second), &proposed))
		return current, proposed, nil
	}
	current, proposed, err := propose("--broker-list", "1,2,3,4")
	require.NoError(t, err)
	require.Len(t, current.Partitions, 13)
	require.Len(t, proposed.Partitions, 13)
	share := map[int32]int{}
	for i, p := range proposed.Partitions {
		require.Equal(t, current.Partitions[i].Topic, p.Topic)
		require.Equal(t, current.Partitions[i].Partition, p.Partition)
		require.Len(t, p.Replicas, len(current.Partitions[i].Replicas))
		racks := map[int32]bool{}
		for _, id := range p.Replicas {
			require.True(t, id >= 1 && id <= 4, "%d", id)
			racks[id%3] = true
			share[id]++
		}
		require.Len(t, racks, len(p.Replicas), "%v", p)
	}
	require.Len(t, share, 4)

	_, _, err = propose("--broker-list", "5")
	require.ErrorContains(t, err, "larger than available brokers: 1")
	_, proposed, err = propose("--broker-list", "1,4", "--disable-rack-aware")
	require.NoError(t, err)
	for _, p := range proposed.Partitions {
		require.ElementsMatch(t, []int32{1, 4}, p.Replicas)
	}
	require.NoError(t, os.WriteFile(file, []byte(`{"topics":[{"topic":"a"},{"topic":"a"}],"version":1}`), 0o600))
	var usage *UsageError
	_, _, err = propose("--broker-list", "1,2")
	require.ErrorAs(t, err, &usage)
	require.ErrorContains(t, err, "twice")
}
