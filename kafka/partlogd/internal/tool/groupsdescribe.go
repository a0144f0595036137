package tool

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupView is what is told about a group, of either protocol.
type groupView struct {
	state, assignor string
	coordinator     string
	members         []memberView
}

type memberView struct {
	id, instance, client, host string
	parts                      map[string][]int32
}

// view asks the group's coordinator.
func (g *groupTool) view(ctx context.Context, l listed) (v groupView, err error) {
	if strings.EqualFold(l.typ, "consumer") {
		return g.viewNew(ctx, l.id)
	}
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{l.id}
	resp, err := req.RequestWith(ctx, g.client)
	if err != nil {
		return v, err
	}
	for _, r := range resp.Groups {
		if err := failure(r.ErrorCode, r.ErrorMessage); err != nil {
			return v, about("group "+l.id, err)
		}
		v.state, v.assignor = r.State, r.Protocol
		for _, m := range r.Members {
			mv := memberView{id: m.MemberID, client: m.ClientID, host: m.ClientHost, parts: map[string][]int32{}}
			if m.InstanceID != nil {
				mv.instance = *m.InstanceID
			}
			var a kmsg.ConsumerMemberAssignment
			if r.ProtocolType == "consumer" && a.ReadFrom(m.MemberAssignment) == nil {
				for _, t := range a.Topics {
					mv.parts[t.Topic] = t.Partitions
				}
			}
			v.members = append(v.members, mv)
		}
	}
	v.coordinator, err = g.coordinator(ctx, l.id)
	return v, err
}

func (g *groupTool) viewNew(ctx context.Context, id string) (v groupView, err error) {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{id}
	resp, err := req.RequestWith(ctx, g.client)
	if err != nil {
		return v, err
	}
	for _, r := range resp.Groups {
		if err := failure(r.ErrorCode, r.ErrorMessage); err != nil {
			return v, about("group "+id, err)
		}
		v.state, v.assignor = r.State, r.AssignorName
		for _, m := range r.Members {
			mv := memberView{id: m.MemberID, client: m.ClientID, host: m.ClientHost, parts: map[string][]int32{}}
			if m.InstanceID != nil {
				mv.instance = *m.InstanceID
			}
			for _, t := range m.Assignment.TopicPartitions {
				mv.parts[t.Topic] = t.Partitions
			}
			v.members = append(v.members, mv)
		}
	}
	v.coordinator, err = g.coordinator(ctx, id)
	return v, err
}

func (g *groupTool) coordinator(ctx context.Context, id string) (string, error) {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKeys, req.CoordinatorKey = []string{id}, id
	resp, err := req.RequestWith(ctx, g.client)
	if err != nil {
		return "", err
	}
	for _, c := range resp.Coordinators {
		return fmt.Sprintf("%s:%d (%d)", c.Host, c.Port, c.NodeID), failure(c.ErrorCode, c.ErrorMessage)
	}
	return fmt.Sprintf("%s:%d (%d)", resp.Host, resp.Port, resp.NodeID), failure(resp.ErrorCode, resp.ErrorMessage)
}

func (g *groupTool) describeGroups(ctx context.Context) error {
	chosen, err := g.chosen(ctx)
	if err != nil {
		return err
	}
	for _, l := range chosen {
		if l.typ == "" {
			return fmt.Errorf("consumer group '%s' does not exist", l.id)
		}
		v, err := g.view(ctx, l)
		if err != nil {
			return err
		}
		if len(v.members) == 0 && !g.showState {
			fmt.Fprintf(g.streams.Err, "\nConsumer group '%s' has no active members.\n", l.id)
		}
		var t table
		switch {
		case g.showState:
			t.add("GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS")
			t.add(l.id, v.coordinator, v.assignor, v.state, strconv.Itoa(len(v.members)))
		case g.members:
			g.memberRows(&t, l.id, v)
		default:
			if err := g.offsetRows(ctx, &t, l.id, v); err != nil {
				return err
			}
		}
		if len(t.rows) < 2 {
			continue
		}
		fmt.Fprintln(g.streams.Out)
		if err := t.write(g.streams.Out); err != nil {
			return err
		}
	}
	return nil
}

func (g *groupTool) memberRows(t *table, id string, v groupView) {
	header := []string{"GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS"}
	static := slices.ContainsFunc(v.members, func(m memberView) bool { return m.instance != "" })
	if static {
		header = slices.Insert(header, 2, "GROUP-INSTANCE-ID")
	}
	if g.verbose {
		header = append(header, "ASSIGNMENT")
	}
	t.add(header...)
	for _, m := range v.members {
		n, names := 0, []string{}
		for _, topic := range sortedKeys(m.parts) {
			n += len(m.parts[topic])
			names = append(names, topic+"("+ids(m.parts[topic])+")")
		}
		row := []string{id, m.id, m.host, m.client, strconv.Itoa(n)}
		if static {
			row = slices.Insert(row, 2, m.instance)
		}
		if g.verbose {
			row = append(row, dash(strings.Join(names, ", ")))
		}
		t.add(row...)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// offsetRows has a row for each partition that the group has an offset of or a member for.
func (g *groupTool) offsetRows(ctx context.Context, t *table, id string, v groupView) error {
	committed, err := g.committed(ctx, id)
	if err != nil {
		return err
	}
	owners := map[string]map[int32]memberView{}
	ask := map[string][]int32{}
	for topic, ps := range committed {
		for p := range ps {
			ask[topic] = append(ask[topic], p)
		}
	}
	for _, m := range v.members {
		for topic, ps := range m.parts {
			if owners[topic] == nil {
				owners[topic] = map[int32]memberView{}
			}
			for _, p := range ps {
				owners[topic][p] = m
				if !slices.Contains(ask[topic], p) {
					ask[topic] = append(ask[topic], p)
				}
			}
		}
	}
	ends := map[string]map[int32]int64{}
	if len(ask) > 0 {
		if ends, err = listOffsets(ctx, g.client, ask, -1); err != nil {
			return err
		}
	}
	t.add("GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID")
	for _, topic := range sortedKeys(ask) {
		slices.Sort(ask[topic])
		for _, p := range ask[topic] {
			at, end, lag := "-", "-", "-"
			o, has := committed[topic][p]
			e, known := ends[topic][p]
			if has {
				at = strconv.FormatInt(o, 10)
			}
			if known {
				end = strconv.FormatInt(e, 10)
			}
			if has && known {
				lag = strconv.FormatInt(e-o, 10)
			}
			m := owners[topic][p]
			t.add(id, topic, strconv.Itoa(int(p)), at, end, lag, dash(m.id), dash(m.host), dash(m.client))
		}
	}
	return nil
}

// committed returns the group's offsets.
func (g *groupTool) committed(ctx context.Context, id string) (map[string]map[int32]int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group = id
	req.Group, req.Topics = id, nil
	req.Groups = append(req.Groups, rg)
	resp, err := req.RequestWith(ctx, g.client)
	if err != nil {
		return nil, err
	}
	out := map[string]map[int32]int64{}
	put := func(topic string, p int32, o int64) {
		if o < 0 {
			return
		}
		if out[topic] == nil {
			out[topic] = map[int32]int64{}
		}
		out[topic][p] = o
	}
	for _, r := range resp.Groups {
		if err := failure(r.ErrorCode, nil); err != nil {
			return nil, about("group "+id, err)
		}
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				put(t.Topic, p.Partition, p.Offset)
			}
		}
	}
	if len(resp.Groups) == 0 { // an old broker
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				put(t.Topic, p.Partition, p.Offset)
			}
		}
		return out, about("group "+id, failure(resp.ErrorCode, nil))
	}
	return out, nil
}
