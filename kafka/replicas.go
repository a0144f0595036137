package kafka

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// assignReplicas gives n partitions factor replicas each, by Kafka's rule (AdminUtils.assignReplicasToBrokers): the first
// replicas go round the brokers, the others follow at a distance that grows with each round, and brokers of different racks
// take turns. first and shift choose where it begins.
func assignReplicas(brokers []*Broker, n, factor, first, shift int) [][]int32 {
	order := alternateRacks(brokers)
	b := len(order)
	out := make([][]int32, n)
	if b == 0 || factor < 1 {
		return out
	}
	for i := range out {
		if i > 0 && (first+i)%b == 0 {
			shift++
		}
		lead := (first + i) % b
		replicas := []int32{order[lead].id}
		racks := map[string]bool{order[lead].Rack(): true}
		distinct := countRacks(order)
		for k := 0; len(replicas) < factor && k < 2*b; k++ {
			next := order[(lead+1+(shift+k)%max(b-1, 1))%b]
			// A rack or broker that has a replica waits until all racks, then all brokers, have one.
			if slices.Contains(replicas, next.id) || racks[next.Rack()] && len(racks) < distinct && k < b {
				continue
			}
			replicas, racks[next.Rack()] = append(replicas, next.id), true
		}
		out[i] = replicas
	}
	return out
}

// alternateRacks orders brokers so that neighbours are in different racks where that is possible.
func alternateRacks(brokers []*Broker) []*Broker {
	byRack := map[string][]*Broker{}
	for _, b := range brokers {
		byRack[b.Rack()] = append(byRack[b.Rack()], b)
	}
	out := make([]*Broker, 0, len(brokers))
	racks := slices.Sorted(maps.Keys(byRack))
	for i := 0; len(out) < len(brokers); i++ {
		for _, r := range racks {
			if i < len(byRack[r]) {
				out = append(out, byRack[r][i])
			}
		}
	}
	return out
}

func countRacks(brokers []*Broker) int {
	racks := map[string]bool{}
	for _, b := range brokers {
		racks[b.Rack()] = true
	}
	return len(racks)
}

// formatReplicas writes replica lists as "1,2;2,3".
func formatReplicas(lists [][]int32) string {
	var b []byte
	for i, ids := range lists {
		if i > 0 {
			b = append(b, ';')
		}
		for j, id := range ids {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(id), 10)
		}
	}
	return string(b)
}

func parseReplicas(text string) ([][]int32, error) {
	var lists [][]int32
	for list := range strings.SplitSeq(text, ";") {
		var ids []int32
		for item := range strings.SplitSeq(list, ",") {
			id, err := strconv.ParseInt(item, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("replica lists %q: %w", text, err)
			}
			ids = append(ids, int32(id))
		}
		lists = append(lists, ids)
	}
	return lists, nil
}
