package control

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func places(spec map[NodeID]string, fenced ...NodeID) (nodes []Node) {
	for id, rack := range spec {
		nodes = append(nodes, Node{ID: id, Rack: rack, Fenced: slices.Contains(fenced, id)})
	}
	return nodes
}

var threeRacks = map[NodeID]string{1: "a", 2: "b", 3: "c", 4: "a", 5: "b", 6: "c"}

func TestReplicasOfAPartitionAreInDifferentRacks(t *testing.T) {
	for seed := range uint64(50) {
		assignment, code := Place(places(threeRacks), 30, 3, seed)
		require.Equal(t, OK, code)
		leads, has := map[NodeID]int{}, map[NodeID]int{}
		for _, replicas := range assignment {
			racks := map[string]bool{}
			for _, id := range replicas {
				racks[threeRacks[id]] = true
				has[id]++
			}
			require.Len(t, racks, 3, "%v", replicas)
			leads[replicas[0]]++
		}
		for id := range threeRacks {
			require.Equal(t, 5, leads[id], "node %d of %v", id, assignment)
			require.Equal(t, 15, has[id], "node %d of %v", id, assignment)
		}
	}
}

func TestReplicasOfAPartitionAreDifferentNodesWhateverTheRacks(t *testing.T) {
	spec := map[NodeID]string{1: "a", 2: "a", 3: "a", 4: "b"}
	for seed := range uint64(50) {
		assignment, code := Place(places(spec), 16, 4, seed)
		require.Equal(t, OK, code)
		for _, replicas := range assignment {
			require.ElementsMatch(t, []NodeID{1, 2, 3, 4}, replicas)
			require.NotEqual(t, spec[replicas[0]], spec[replicas[1]], "%v: racks in turn", replicas)
		}
	}
}

func TestFencedNodesGetReplicasOnlyIfThereAreTooFewOthersAndNeverLead(t *testing.T) {
	for seed := range uint64(50) {
		assignment, code := Place(places(threeRacks, 1, 2, 3), 12, 3, seed)
		require.Equal(t, OK, code)
		for _, replicas := range assignment {
			require.ElementsMatch(t, []NodeID{4, 5, 6}, replicas)
		}
		assignment, code = Place(places(threeRacks, 1, 2, 3, 4, 5), 12, 3, seed)
		require.Equal(t, OK, code)
		for _, replicas := range assignment {
			require.Equal(t, NodeID(6), replicas[0])
			require.Len(t, replicas, 3)
		}
	}
}

func TestPlaceRefusesWhatCannotBe(t *testing.T) {
	for _, c := range []struct {
		nodes         []Node
		count, factor int32
		code          Code
	}{
		{places(threeRacks), 1, 7, InvalidReplicationFactor},
		{places(threeRacks), 1, 0, InvalidReplicationFactor},
		{places(threeRacks, 1, 2, 3, 4, 5, 6), 1, 1, InvalidReplicationFactor},
		{nil, 1, 1, InvalidReplicationFactor},
		{places(threeRacks), 0, 1, InvalidPartitions},
	} {
		_, code := Place(c.nodes, c.count, c.factor, 1)
		require.Equal(t, c.code, code)
	}
}

func TestPlaceIsDecidedByItsArguments(t *testing.T) {
	first, _ := Place(places(threeRacks), 20, 3, 7)
	for range 20 { // the nodes come out of a map in another order each time
		again, _ := Place(places(threeRacks), 20, 3, 7)
		require.Equal(t, first, again)
	}
	other, _ := Place(places(threeRacks), 20, 3, 8)
	require.NotEqual(t, first, other)
}
