package replication

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/quorum"
	"github.com/partlog/partlog/internal/vfs"
)

// ErrConfirmation is returned by RecoverQuorum for any words but those that it asks for.
var ErrConfirmation = quorum.ErrConfirmation

// DumpQuorumOptions say what DumpQuorum shows; the zero value is everything.
type DumpQuorumOptions struct {
	FS          vfs.FS // default: the machine's
	First, Last uint64 // entries by index; 0: no bound
	// Contains shows only entries in whose words it is.
	Contains string
}

// DumpQuorum writes what a node's directory (Config.Dir) holds of the controller quorum, in lines: the newest snapshot with nodes, topics and
// partitions, the log's entries as the commands that they are, votes and terms, and what recovery would find wrong. It changes nothing, and the
// node may be running.
func DumpQuorum(w io.Writer, dir string, o DumpQuorumOptions) error {
	return quorum.Dump(w, o.FS, filepath.Join(dir, quorumDir), quorum.DumpOptions{
		First: o.First, Last: o.Last,
		Entry: func(_ uint64, data []byte) (string, bool) {
			words := describeEntry(data)
			return words, strings.Contains(words, o.Contains)
		},
		State: describeState,
	})
}

// describeEntry is an entry of the quorum's log in words.
func describeEntry(data []byte) string {
	if len(data) == 0 {
		return "a leader's first"
	}
	node, _, _, command, err := decodeProposal(data)
	if err != nil {
		return fmt.Sprintf("%d bytes: %v", len(data), err)
	}
	return fmt.Sprintf("by %d: %s", node, describeCommand(command))
}

// describeCommand is a command in words: its name, and what it is about.
func describeCommand(command control.Command) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", command), "control.")
	event := func(e control.Event) string {
		if e.Kind == 0 {
			return ""
		}
		return fmt.Sprintf(" catalogue kind %d, %d bytes, expects %d", e.Kind, len(e.Payload), e.Expect)
	}
	switch c := command.(type) {
	case control.Register:
		return fmt.Sprintf("%s node %d incarnation %x address %s rack %q levels %d-%d previous epoch %d replaces %d", name, c.ID, c.Incarnation, c.Addr,
			c.Rack, c.MinFeature, c.MaxFeature, c.PreviousEpoch, c.Replaces)
	case control.Unregister:
		return fmt.Sprintf("%s node %d", name, c.ID)
	case control.Fence:
		return fmt.Sprintf("%s node %d epoch %d", name, c.Node, c.Epoch)
	case control.Unfence:
		return fmt.Sprintf("%s node %d epoch %d", name, c.Node, c.Epoch)
	case control.BeginShutdown:
		return fmt.Sprintf("%s node %d epoch %d", name, c.Node, c.Epoch)
	case control.AlterPartitions:
		var b strings.Builder
		fmt.Fprintf(&b, "%s node %d epoch %d", name, c.Node, c.Epoch)
		for _, p := range c.Partitions {
			fmt.Fprintf(&b, "; %s leader epoch %d partition epoch %d ISR", describePartition(p.Partition), p.LeaderEpoch, p.PartitionEpoch)
			for _, m := range p.ISR {
				fmt.Fprintf(&b, " %d", m.Node)
			}
		}
		return b.String()
	case control.OfflineReplicas:
		return fmt.Sprintf("%s node %d epoch %d, %d partitions", name, c.Node, c.Epoch, len(c.Partitions))
	case control.Resign:
		return fmt.Sprintf("%s node %d epoch %d, %d partitions", name, c.Node, c.Epoch, len(c.Partitions))
	case control.OnlineReplicas:
		return fmt.Sprintf("%s node %d epoch %d, %d partitions", name, c.Node, c.Epoch, len(c.Partitions))
	case control.CreateTopic:
		return fmt.Sprintf("%s %q id %x replicas %v%s", name, c.Name, c.ID, c.Assignment, event(c.Event))
	case control.DeleteTopic:
		return fmt.Sprintf("%s id %x%s", name, c.ID, event(c.Event))
	case control.GrowTopic:
		return fmt.Sprintf("%s id %x from %d replicas %v%s", name, c.ID, c.From, c.Assignment, event(c.Event))
	case control.ConfigureTopic:
		return fmt.Sprintf("%s id %x %+v%s", name, c.ID, c.Config, event(c.Event))
	case control.ConfigureCluster:
		return fmt.Sprintf("%s %+v%s", name, c.Config, event(c.Event))
	case control.Catalogue:
		return name + event(c.Event)
	case control.Reassign:
		var b strings.Builder
		b.WriteString(name)
		for _, p := range c.Partitions {
			fmt.Fprintf(&b, "; %s to %v", describePartition(p.Partition), p.Target)
		}
		return b.String()
	case control.Elect:
		return fmt.Sprintf("%s unclean %v, %d partitions", name, c.Unclean, len(c.Partitions))
	case control.SetFeature:
		return fmt.Sprintf("%s level %d", name, c.Level)
	}
	return name
}

func describePartition(p control.PartitionID) string { return fmt.Sprintf("%x-%d", p.Topic, p.Index) }

// describeState is the state of a snapshot in lines.
func describeState(state []byte) []string {
	m, shared, err := decodeState(state)
	if err != nil {
		return []string{err.Error()}
	}
	lines := []string{fmt.Sprintf("applied %d, feature level %d, catalogue as of %d, %d bytes", m.Applied(), m.Feature(), m.CatalogueIndex(), len(shared))}
	for _, n := range m.Nodes() {
		lines = append(lines, "node "+n.String())
	}
	for _, t := range m.Topics() {
		lines = append(lines, fmt.Sprintf("topic %q id %x", t.Name, t.ID))
		for i, p := range t.Partitions() {
			lines = append(lines, fmt.Sprintf("  partition %d %v", i, p))
		}
	}
	return lines
}

// QuorumRecovery is what RecoverQuorum would do, for the person who has to decide.
type QuorumRecovery struct {
	NodeID   int32
	Term     uint64
	Last     uint64  // index of the last entry of its log
	Doubtful int     // entries that were not known to be committed; they will be
	Lost     []int32 // the other voters
	// Confirmation are the words that RecoverQuorum wants.
	Confirmation string
}

// PlanQuorumRecovery says what RecoverQuorum would do with a node's directory. It changes nothing.
func PlanQuorumRecovery(fs vfs.FS, dir string) (QuorumRecovery, error) {
	plan, err := quorum.PlanRecover(quorum.Config{FS: fs, Dir: filepath.Join(dir, quorumDir)})
	return recoveryOf(plan), notFormatted(err)
}

// RecoverQuorum makes a surviving node the only voter of the controller quorum, when the majority of the voters is lost for good. It works on the
// directory of a node that does not run, and only with the words that PlanQuorumRecovery returns.
//
// Changes of metadata that the lost nodes made without this one are lost: choose, of the survivors, the one with the highest Term and then Last. The
// other nodes must not run again with the quorum directories that they have; remove those, and start them with Join. Partitions
// whose in-sync replicas are all lost have no leader until an unclean election is allowed.
func RecoverQuorum(fs vfs.FS, dir, confirmation string) (QuorumRecovery, error) {
	plan, err := quorum.Recover(quorum.Config{FS: fs, Dir: filepath.Join(dir, quorumDir)}, confirmation)
	return recoveryOf(plan), notFormatted(err)
}

func recoveryOf(plan quorum.RecoverPlan) QuorumRecovery {
	r := QuorumRecovery{NodeID: plan.Self.Node, Term: plan.Term, Last: plan.Last, Doubtful: plan.Doubtful, Confirmation: plan.Confirmation}
	for _, m := range plan.Lost {
		r.Lost = append(r.Lost, m.Node)
	}
	return r
}

func notFormatted(err error) error {
	if errors.Is(err, quorum.ErrNotFormatted) {
		return fmt.Errorf("%w: %w", ErrNotFormatted, err)
	}
	return err
}
