package tool

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// reassignment is the file of kafka-reassign-partitions.
type reassignment struct {
	Version    int          `json:"version"`
	Partitions []reassigned `json:"partitions"`
}

type reassigned struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Replicas  []int32 `json:"replicas"`
}

// now returns the replicas that the partitions of r have, in r's order; nil for those that are not there.
func (t *clusterTool) now(ctx context.Context, r reassignment) (reassignment, error) {
	t.topics = nil
	for _, one := range r.Partitions {
		if !slices.Contains(t.topics, one.Topic) {
			t.topics = append(t.topics, one.Topic)
		}
	}
	all, err := t.described(ctx)
	if err != nil {
		return reassignment{}, err
	}
	have := reassignment{Version: 1, Partitions: slices.Clone(r.Partitions)}
	for i := range have.Partitions {
		one := &have.Partitions[i]
		one.Replicas = nil
		for _, topic := range all {
			for _, p := range topic.Partitions {
				if *topic.Topic == one.Topic && p.Partition == one.Partition {
					one.Replicas = p.Replicas
				}
			}
		}
	}
	return have, nil
}

// wayBack prints the replicas that there are, as a file that brings them back.
func (t *clusterTool) wayBack(ctx context.Context, r reassignment) error {
	have, err := t.now(ctx, r)
	if err != nil {
		return err
	}
	have.Partitions = slices.DeleteFunc(have.Partitions, func(one reassigned) bool { return one.Replicas == nil })
	text, err := json.Marshal(have)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.streams.Out, "Current partition replica assignment\n\n%s\n\nSave this to use as the --reassignment-json-file option during rollback\n", text)
	return nil
}

// verifyReassignment prints whether the partitions have the replicas of r, in the words of kafka-reassign-partitions --verify, and takes the
// throttles away when nothing is under way any more.
func (t *clusterTool) verifyReassignment(ctx context.Context, r reassignment) error {
	resp, err := kmsg.NewPtrListPartitionReassignmentsRequest().RequestWith(ctx, t.client)
	if err == nil {
		err = failure(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return about("reassignments", err)
	}
	moves := func(one reassigned) bool {
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if topic.Topic == one.Topic && p.Partition == one.Partition {
					return true
				}
			}
		}
		return false
	}
	have, err := t.now(ctx, r)
	if err != nil {
		return err
	}
	fmt.Fprintln(t.streams.Out, "Status of partition reassignment:")
	under := false
	for i, one := range r.Partitions {
		name := fmt.Sprintf("%s-%d", one.Topic, one.Partition)
		switch is := have.Partitions[i].Replicas; {
		case moves(one):
			under = true
			fmt.Fprintf(t.streams.Out, "Reassignment of partition %s is still in progress.\n", name)
		case slices.Equal(is, one.Replicas):
			fmt.Fprintf(t.streams.Out, "Reassignment of partition %s is completed.\n", name)
		default:
			fmt.Fprintf(t.streams.Out, "There is no active reassignment of partition %s, but replica set is %s rather than %s.\n", name, ids(is), ids(one.Replicas))
		}
	}
	if under || t.preserve {
		return nil
	}
	return t.unthrottle(ctx, r)
}
