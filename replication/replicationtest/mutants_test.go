//go:build mutants

package replicationtest_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/replication/replicationtest"
)

// mutants are bugs that others have had, or nearly, and that simulated clusters find by themselves. Three more of package mutant (JoinBelowEpochStart,
// StaleEpochFetch, AppendOtherEpoch) stand behind another rule that stops them too; they have stories of their own in internal/replica.
var mutants = []struct {
	name  string
	on    mutant.Name
	whose string
}{
	{"truncate-to-high-watermark", mutant.TruncateToHighWatermark, "Kafka before KIP-101"},
	{"truncate-without-lower-epoch", mutant.TruncateWithoutLowerEpoch, "Kafka before KIP-279"},
	{"append-without-divergence", mutant.AppendWithoutDivergence, "the first try of KIP-320"},
	{"last-replica-standing", mutant.LastReplicaStanding, "Kafka before KIP-966"},
	{"stale-follower-joins", mutant.StaleFollowerJoins, "Kafka before KIP-903"},
	{"resume-leadership", mutant.ResumeLeadership, "KAFKA-10527"},
	{"ack-before-high-watermark", mutant.AckBeforeHighWatermark, ""},
	{"stale-alter-partition", mutant.StaleAlterPartition, ""},
	{"stale-leader-alters", mutant.StaleLeaderAlters, ""},
	{"fenced-joins-isr", mutant.FencedJoinsISR, "Kafka before KIP-841"},
	{"vote-not-persisted", mutant.VoteNotPersisted, ""},
	{"raft-entries-not-synced", mutant.RaftEntriesNotSynced, ""},
	{"high-watermark-ahead", mutant.HighWatermarkAhead, ""},
	{"ignore-proposed-isr", mutant.IgnoreProposedISR, "KIP-497's maximal ISR"},
	{"join-below-high-watermark", mutant.JoinBelowHighWatermark, ""},
	{"stale-leader-serves", mutant.StaleLeaderServes, ""},
	{"unclean-keeps-isr", mutant.UncleanKeepsISR, "KIP-966"},
	{"unclean-always", mutant.UncleanAlways, ""},
	{"election-same-epoch", mutant.ElectionSameEpoch, ""},
	{"removed-too-early", mutant.RemovedTooEarly, ""},
	{"serve-above-high-watermark", mutant.ServeAboveHighWatermark, ""},
	{"new-leader-forgets-producers", mutant.NewLeaderForgetsProducers, "KAFKA-14034 in effect"},
	{"min-isr-not-checked", mutant.MinISRNotChecked, ""},
	{"epoch-cache-not-truncated", mutant.EpochCacheNotTruncated, ""},
	{"session-forgets-partition", mutant.SessionForgetsPartition, "KIP-227"},
	{"snapshot-without-epochs", mutant.SnapshotWithoutEpochs, ""},
	{"end-txn-of-next", mutant.EndTxnOfNext, "KAFKA-17754"},
	{"offsets-before-commit", mutant.OffsetsBeforeCommit, ""},
}

// TestMutants puts each bug back and counts the seeds until a checker has found it: the median of several rows of seeds. PARTLOG_ROWS is how many rows,
// PARTLOG_MOST the seeds of one row after which it is given up.
func TestMutants(t *testing.T) {
	rows, most := number("PARTLOG_ROWS", 3), number("PARTLOG_MOST", 300)
	caught := 0
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			mutant.Set(m.on)
			defer mutant.Set(mutant.None)
			var took []int
			by := map[string]int{}
			for row := range rows {
				n, checker := 0, ""
				for n < most && checker == "" {
					n++
					r := replicationtest.Run(replicationtest.Options{Seed: uint64(row+1)*1_000_000 + uint64(n), Reseed: reseed(t)})
					if r.Violation != nil {
						checker = r.Violation.Checker
					}
				}
				if checker == "" {
					n = most + 1
				} else {
					by[checker]++
				}
				took = append(took, n)
			}
			slices.Sort(took)
			median := took[len(took)/2]
			t.Logf("%-30s median %3d seeds, by %v", m.name, median, fmt.Sprint(by))
			require.LessOrEqual(t, median, most, "not found")
			caught++
		})
	}
	require.GreaterOrEqual(t, caught, 20)
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}
