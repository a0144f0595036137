package tool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const groupsHelp = `
Usage: partlogd groups ACTION [--group GROUP | --all-groups] [flags]

  partlogd groups --list
  partlogd groups --describe --group billing
  partlogd groups --describe --all-groups --members
  partlogd groups --reset-offsets --group billing --topic orders --to-earliest --dry-run
  partlogd groups --reset-offsets --group billing --topic orders:0,1 --shift-by -10 --execute
  partlogd groups --delete --group billing

Actions: --list, --describe, --delete, --reset-offsets, --delete-offsets

Flags:
  --group GROUP                     may be repeated
  --all-groups
  --state [STATE,...]               with --list: states too, or only groups in these; with --describe: the state
  --type                            with --list: types too
  --members                         with --describe: members instead of offsets; --verbose: with their partitions
  --topic TOPIC[:N,...]             whose offsets are reset or deleted; may be repeated
  --all-topics                      all that the group has offsets of
  --to-earliest, --to-latest, --to-current, --to-offset N, --shift-by N, --to-datetime 2026-01-31T12:00:00.000,
  --by-duration P1DT2H3M4S, --from-file FILE (CSV: topic,partition,offset)
                                    where to
  --dry-run                         only show (the default), --execute: do it, --export: print CSV for --from-file
` + connectionHelp

// groupTool is what the command line of groups says.
type groupTool struct {
	connection
	list, describe, delete, reset, drop bool

	groups                        list
	topics                        repeated
	allGroups, allTopics          bool
	states                        string
	showState, showType           bool
	members, verbose, offsetsOnly bool
	target                        resetTarget
	dryRun, execute, export       bool

	client  *kgo.Client
	streams Streams
}

// repeated is a flag that may be repeated, whose values may have commas.
type repeated []string

func (r *repeated) String() string { return "" }

// Set adds one.
func (r *repeated) Set(s string) error {
	*r = append(*r, s)
	return nil
}

// optional is a switch that may have a value behind an equals sign.
type optional struct {
	on   *bool
	text *string
}

func (o optional) String() string { return "" }

// IsBoolFlag tells package flag that a value is not needed.
func (o optional) IsBoolFlag() bool { return true }

// Set turns it on.
func (o optional) Set(s string) error {
	*o.on = true
	if s != "true" {
		*o.text = s
	}
	return nil
}

func groups(ctx context.Context, args []string, s Streams) error {
	f := newFlags("groups", groupsHelp)
	g := &groupTool{streams: s}
	g.addTo(f)
	for name, into := range map[string]*bool{
		"list": &g.list, "describe": &g.describe, "delete": &g.delete, "reset-offsets": &g.reset, "delete-offsets": &g.drop,
		"all-groups": &g.allGroups, "all-topics": &g.allTopics, "type": &g.showType, "members": &g.members, "verbose": &g.verbose,
		"offsets": &g.offsetsOnly, "dry-run": &g.dryRun, "execute": &g.execute, "export": &g.export,
	} {
		f.BoolVar(into, name, false, "")
	}
	f.Var(optional{&g.showState, &g.states}, "state", "")
	f.Var(&g.groups, "group", "")
	f.Var(&g.topics, "topic", "")
	g.target.addTo(f)
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	if g.list && g.showState && g.states == "" && len(f.words) == 1 { // --state STATE, as Kafka's tool has it
		g.states, f.words = f.words[0], nil
	}
	if err := errors.Join(f.noWords(), g.check()); err != nil {
		return &UsageError{err}
	}
	var err error
	if g.client, err = g.open(); err != nil {
		return err
	}
	defer g.client.Close()
	if err := reach(ctx, g.client); err != nil {
		return err
	}
	switch {
	case g.list:
		return g.listGroups(ctx)
	case g.describe:
		return g.describeGroups(ctx)
	case g.delete:
		return g.deleteGroups(ctx)
	case g.drop:
		return g.deleteOffsets(ctx)
	}
	return g.resetOffsets(ctx)
}

func (g *groupTool) check() error {
	n := 0
	for _, action := range []bool{g.list, g.describe, g.delete, g.reset, g.drop} {
		if action {
			n++
		}
	}
	switch {
	case n != 1:
		return errors.New("want one of --list, --describe, --delete, --reset-offsets and --delete-offsets")
	case g.list:
		return nil
	case len(g.groups) == 0 && !g.allGroups:
		return errors.New("want --group or --all-groups: which one?")
	case len(g.groups) > 0 && g.allGroups:
		return errors.New("--group and --all-groups cannot both be")
	case (g.reset || g.drop) && len(g.topics) == 0 && !g.allTopics && g.target.file == "":
		return errors.New("want --topic or --all-topics: whose offsets?")
	case g.drop && g.allGroups:
		return errors.New("--delete-offsets needs --group")
	case g.execute && (g.dryRun || g.export):
		return errors.New("--execute and --dry-run cannot both be")
	}
	if g.reset {
		return g.target.check()
	}
	return nil
}

// listed is a group as ListGroups has it.
type listed struct{ id, state, typ, protocol string }

// all returns the groups by id.
func (g *groupTool) all(ctx context.Context) ([]listed, error) {
	req := kmsg.NewPtrListGroupsRequest()
	var out []listed
	for _, shard := range g.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		resp := shard.Resp.(*kmsg.ListGroupsResponse)
		if err := failure(resp.ErrorCode, nil); err != nil {
			return nil, err
		}
		for _, r := range resp.Groups {
			typ := r.GroupType
			if typ == "" {
				typ = "Classic"
			}
			out = append(out, listed{r.Group, r.GroupState, typ, r.ProtocolType})
		}
	}
	slices.SortFunc(out, func(a, b listed) int { return strings.Compare(a.id, b.id) })
	return out, nil
}

func (g *groupTool) listGroups(ctx context.Context) error {
	all, err := g.all(ctx)
	if err != nil {
		return err
	}
	wanted := func(l listed) bool {
		if g.states == "" {
			return true
		}
		return slices.ContainsFunc(strings.Split(g.states, ","), func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), l.state) })
	}
	var t table
	header := []string{"GROUP"}
	if g.showType {
		header = append(header, "TYPE")
	}
	if g.showState {
		header = append(header, "STATE")
	}
	if len(header) > 1 {
		t.add(header...)
	}
	for _, l := range all {
		row := []string{l.id}
		if g.showType {
			row = append(row, l.typ)
		}
		if g.showState {
			row = append(row, l.state)
		}
		if wanted(l) {
			t.add(row...)
		}
	}
	return t.write(g.streams.Out)
}

// chosen returns the groups that the command line names. One that does not exist comes without a type.
func (g *groupTool) chosen(ctx context.Context) ([]listed, error) {
	all, err := g.all(ctx)
	if err != nil || g.allGroups {
		return all, err
	}
	var out []listed
	for _, id := range g.groups {
		i := slices.IndexFunc(all, func(l listed) bool { return l.id == id })
		if i < 0 {
			out = append(out, listed{id: id})
			continue
		}
		out = append(out, all[i])
	}
	return out, nil
}

func (g *groupTool) deleteGroups(ctx context.Context) error {
	chosen, err := g.chosen(ctx)
	if err != nil || len(chosen) == 0 {
		return err
	}
	req := kmsg.NewPtrDeleteGroupsRequest()
	for _, l := range chosen {
		req.Groups = append(req.Groups, l.id)
	}
	var deleted []string
	for _, shard := range g.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return shard.Err
		}
		for _, r := range shard.Resp.(*kmsg.DeleteGroupsResponse).Groups {
			if e := failure(r.ErrorCode, nil); e != nil {
				err = errors.Join(err, about("group "+r.Group, e))
				continue
			}
			deleted = append(deleted, "'"+r.Group+"'")
		}
	}
	if len(deleted) > 0 {
		slices.Sort(deleted)
		fmt.Fprintf(g.streams.Out, "Deletion of requested consumer groups (%s) was successful.\n", strings.Join(deleted, ", "))
	}
	return err
}

func (g *groupTool) deleteOffsets(ctx context.Context) error {
	for _, id := range g.groups {
		parts, err := g.partitions(ctx, id)
		if err != nil {
			return err
		}
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = id
		for _, topic := range sortedKeys(parts) {
			rt := kmsg.NewOffsetDeleteRequestTopic()
			rt.Topic = topic
			for _, p := range parts[topic] {
				rp := kmsg.NewOffsetDeleteRequestTopicPartition()
				rp.Partition = p
				rt.Partitions = append(rt.Partitions, rp)
			}
			req.Topics = append(req.Topics, rt)
		}
		resp, err := req.RequestWith(ctx, g.client)
		if err == nil {
			err = failure(resp.ErrorCode, nil)
		}
		if err != nil {
			return about("group "+id, err)
		}
		t := table{}
		t.add("TOPIC", "PARTITION", "STATUS")
		for _, rt := range resp.Topics {
			for _, p := range rt.Partitions {
				status := "Successful"
				if e := failure(p.ErrorCode, nil); e != nil {
					status = "Error: " + e.Error()
					err = errors.Join(err, about(fmt.Sprintf("%s-%d", rt.Topic, p.Partition), e))
				}
				t.add(rt.Topic, fmt.Sprint(p.Partition), status)
			}
		}
		if err := errors.Join(err, t.write(g.streams.Out)); err != nil {
			return err
		}
	}
	return nil
}
