package tool

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/replication"
)

const quorumHelp = `
Usage: partlogd quorum dump DIR [--from INDEX] [--to INDEX] [--grep TEXT]
       partlogd quorum recover DIR [--confirm WORDS]
       partlogd quorum describe [--bootstrap-server HOST:PORT,...]
       partlogd quorum add-controller --controller-id ID | --command-config FILE
       partlogd quorum remove-controller --controller-id ID [--controller-directory-id DIRECTORY]

describe asks a cluster that runs who its controllers are, and how far behind, as kafka-metadata-quorum does. add-controller
makes a node that observes the quorum a voter, and remove-controller a voter an observer, as they do there; by themselves
nodes become voters unless their properties say controller.quorum.auto.join.enable=false, or they have been removed: a
controller that was remembers it, and observes until add-controller.

dump shows what a node's directory holds of the controller quorum: the newest snapshot with nodes, topics and partitions,
every entry of the log as the command that it is, votes and terms, and what is damaged. Nothing is changed, and the node may
be running.

recover makes this node the only voter of the quorum, when the majority of the voters is lost for good. The node must not be
running. Without --confirm it says what is lost and which words it wants, and reads them from standard input. The other nodes
must never run again with the quorum directories that they have: remove those, and start them with a join.

  partlogd quorum dump ./data --grep CreateTopic
  partlogd quorum recover ./data

Flags:
  --from INDEX, --to INDEX          entries of the log with these indexes
  --grep TEXT                       entries in which the text is
  --confirm WORDS                   what recover asks for
  --controller-id ID                the node that is added or removed; add-controller reads node.id of --command-config, too
  --controller-directory-id ID      its directory, as describe shows it: nothing is changed if it has another
` + connectionHelp

func quorumCommand(ctx context.Context, args []string, s Streams) error {
	f := newFlags("quorum", quorumHelp)
	from, to := f.Uint64("from", 0, ""), f.Uint64("to", 0, "")
	grep, confirm := f.String("grep", "", ""), f.String("confirm", "", "")
	controller, directory := f.Int("controller-id", -1, ""), f.String("controller-directory-id", "", "")
	var conn connection
	conn.addTo(f)
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	if len(f.words) == 1 {
		switch f.words[0] {
		case "describe":
			return showQuorum(ctx, &conn, s)
		case "add-controller", "remove-controller":
			return changeVoters(ctx, &conn, s, f.words[0], *controller, *directory)
		}
	}
	if len(f.words) != 2 {
		return Usagef("want dump or recover, and the directory of one node\n(partlogd quorum --help tells what there is)")
	}
	switch dir := f.words[1]; f.words[0] {
	case "dump":
		w := bufio.NewWriter(s.Out)
		err := replication.DumpQuorum(w, dir, replication.DumpQuorumOptions{First: *from, Last: *to, Contains: *grep})
		return errors.Join(err, w.Flush())
	case "recover":
		return recoverQuorum(dir, *confirm, s)
	}
	return Usagef("%q is neither dump nor recover\n(partlogd quorum --help tells what there is)", f.words[0])
}

func recoverQuorum(dir, confirm string, s Streams) error {
	plan, err := replication.PlanQuorumRecovery(nil, dir)
	if err != nil {
		return err
	}
	if confirm == "" {
		fmt.Fprintf(s.Out, "node %d has the quorum's log up to entry %d of term %d; %d of its entries may never have been committed\n",
			plan.NodeID, plan.Last, plan.Term, plan.Doubtful)
		fmt.Fprintf(s.Out, "lost voters: %v; what they committed without this node is lost with them\n", plan.Lost)
		fmt.Fprintf(s.Out, "to make it the only voter, type: %s\n", plan.Confirmation)
		line, err := bufio.NewReader(s.In).ReadString('\n')
		if err != nil && line == "" {
			return fmt.Errorf("nothing was changed: %w", replication.ErrConfirmation)
		}
		confirm = strings.TrimSpace(line)
	}
	plan, err = replication.RecoverQuorum(nil, dir, confirm)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "node %d is the only voter now; start it, and let the others join with new quorum directories\n", plan.NodeID)
	return nil
}

// showQuorum prints what the leader of the quorum says of its members.
func showQuorum(ctx context.Context, conn *connection, s Streams) error {
	client, err := conn.open()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return unless(ctx, err)
	}
	q, err := describeQuorum(ctx, client)
	if err != nil {
		return unless(ctx, err)
	}
	fmt.Fprintf(s.Out, "leader %d, epoch %d, high watermark %d\n", q.LeaderID, q.LeaderEpoch, q.HighWatermark)
	var out table
	out.add("NODE", "STATUS", "LOGENDOFFSET", "LAG", "DIRECTORYID")
	show := func(list []kmsg.DescribeQuorumResponseTopicPartitionReplicaState, status string) {
		for _, m := range list {
			word := status
			if m.ReplicaID == q.LeaderID {
				word = "Leader"
			}
			out.add(strconv.Itoa(int(m.ReplicaID)), word, strconv.FormatInt(m.LogEndOffset, 10), strconv.FormatInt(max(q.HighWatermark-m.LogEndOffset, 0), 10),
				base64.RawURLEncoding.EncodeToString(m.ReplicaDirectoryID[:]))
		}
	}
	show(q.CurrentVoters, "Follower")
	show(q.Observers, "Observer")
	return out.write(s.Out)
}
