package main

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

func sub(topics ...string) []byte {
	s := group.Subscription{Topics: topics, Generation: -1}
	return s.Append(nil)
}

func joining(g, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	// As long as brokers allow: a machine that is slow is not to end sessions here or there.
	req.Group, req.MemberID, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType = g, member, 1800000, 1800000, "consumer"
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: sub("t")}}
	return req
}

func syncing(g, member string, gen int32) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	c, r := "consumer", "range"
	req.Group, req.MemberID, req.Generation, req.ProtocolType, req.Protocol = g, member, gen, &c, &r
	a := group.Assignment{Partitions: []partition.TopicPartition{{Topic: "t", Partition: 0}, {Topic: "t", Partition: 1}, {Topic: "t", Partition: 2}}}
	req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: a.Append(nil)}}
	return req
}

func commit(g, member string, gen int32, topics ...string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = g, member, gen
	for _, name := range topics {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = name
		for _, p := range []int32{0, 7, 1} {
			one := kmsg.NewOffsetCommitRequestTopicPartition()
			one.Partition, one.Offset = p, int64(p)+5
			t.Partitions = append(t.Partitions, one)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

// coordinators compares the calls of groups and offsets, in every version.
func (r *run) coordinators() {
	g := func(name string) string { return name }
	for v := int16(0); v <= 6; v++ {
		for _, kind := range []int8{0, 1, 2, 3, -1} {
			r.read(fmt.Sprint("FindCoordinator ", v, " kind ", kind), func(s *side) kmsg.Response {
				return s.ask(v, &kmsg.FindCoordinatorRequest{CoordinatorKey: "x", CoordinatorType: kind, CoordinatorKeys: []string{"x", ""}})
			})
		}
	}
	for v := int16(0); v <= 9; v++ {
		id := g(fmt.Sprint("join", v))
		name := func(what string) string { return fmt.Sprint("Join ", v, " ", what) }
		r.both(name("empty group"), func(s *side) kmsg.Response { return s.ask(v, joining("", "m")) })
		r.both(name("session"), func(s *side) kmsg.Response {
			r := joining(id, "m")
			r.SessionTimeoutMillis = 1
			return s.ask(v, r)
		})
		r.both(name("no protocols"), func(s *side) kmsg.Response {
			r := joining(id, "")
			r.Protocols = nil
			return s.ask(v, r)
		})
		r.both(name("unknown member"), func(s *side) kmsg.Response { return s.ask(v, joining(id, "m")) })
		r.both(name("first"), func(s *side) kmsg.Response {
			r := s.ask(v, joining(id, "")).(*kmsg.JoinGroupResponse)
			s.member[id] = r.MemberID
			return r
		})
		if v >= 4 {
			r.both(name("second"), func(s *side) kmsg.Response { return s.ask(v, joining(id, s.member[id])) })
		}
		r.both(name("again while completing"), func(s *side) kmsg.Response { return s.ask(v, joining(id, s.member[id])) })
		r.both(name("commit while completing"), func(s *side) kmsg.Response { return s.ask(highest(8, 9), commit(id, s.member[id], 1, "t", "nope")) })
		r.both(name("sync"), func(s *side) kmsg.Response { return s.ask(min(v, 5), syncing(id, s.member[id], 1)) })
		r.both(name("sync again"), func(s *side) kmsg.Response { return s.ask(min(v, 5), syncing(id, s.member[id], 1)) })
		r.both(name("sync illegal"), func(s *side) kmsg.Response { return s.ask(min(v, 5), syncing(id, s.member[id], 2)) })
		r.both(name("sync unknown"), func(s *side) kmsg.Response { return s.ask(min(v, 5), syncing(id, "m", 1)) })
		r.both(name("sync empty"), func(s *side) kmsg.Response { return s.ask(min(v, 5), syncing("", "m", 1)) })
		r.both(name("sync other group"), func(s *side) kmsg.Response { return s.ask(min(v, 5), syncing(g("none"), "m", 1)) })
		r.both(name("sync protocol"), func(s *side) kmsg.Response {
			r := syncing(id, s.member[id], 1)
			o := "other"
			r.Protocol = &o
			return s.ask(min(v, 5), r)
		})
		r.both(name("sync null protocol"), func(s *side) kmsg.Response {
			r := syncing(id, s.member[id], 1)
			r.Protocol = nil
			return s.ask(min(v, 5), r)
		})
		r.both(name("other protocol type"), func(s *side) kmsg.Response {
			r := joining(id, "")
			r.ProtocolType = "connect"
			return s.ask(v, r)
		})
		r.both(name("other protocol"), func(s *side) kmsg.Response {
			r := joining(id, "")
			r.Protocols[0].Name = "other"
			return s.ask(v, r)
		})
		for _, hv := range []int16{0, 1, 2, 3, 4} {
			for _, x := range []struct {
				g, m string
				gen  int32
			}{{id, "", 1}, {id, "m", 1}, {id, "=", 1}, {id, "=", 2}, {"", "m", 1}, {g("none"), "m", 1}} {
				r.both(fmt.Sprint(name("heartbeat "), hv, x), func(s *side) kmsg.Response {
					m := x.m
					if m == "=" {
						m = s.member[id]
					}
					return s.ask(hv, &kmsg.HeartbeatRequest{Group: x.g, MemberID: m, Generation: x.gen})
				})
			}
		}
		for dv := int16(0); dv <= 6; dv++ {
			r.read(fmt.Sprint(name("describe "), dv), func(s *side) kmsg.Response {
				return s.ask(dv, &kmsg.DescribeGroupsRequest{Groups: []string{id, g("none")}, IncludeAuthorizedOperations: dv%2 == 1})
			})
		}
		for cv := lowest(8, 2); cv <= 9; cv++ {
			for _, x := range []struct {
				m   string
				gen int32
			}{{"=", 1}, {"=", 2}, {"m", 1}, {"", -1}, {"", 1}, {"=", -1}} {
				r.both(fmt.Sprint(name("commit "), cv, x), func(s *side) kmsg.Response {
					m := x.m
					if m == "=" {
						m = s.member[id]
					}
					return s.ask(cv, commit(id, m, x.gen, "nope", "t", "u"))
				})
			}
		}
		r.both(name("offset delete"), func(s *side) kmsg.Response {
			req := kmsg.NewPtrOffsetDeleteRequest()
			req.Group = id
			for _, n := range []string{"t", "nope", "u"} {
				req.Topics = append(req.Topics, kmsg.OffsetDeleteRequestTopic{Topic: n, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 9}}})
			}
			return s.ask(0, req)
		})
		r.both(name("delete group"), func(s *side) kmsg.Response {
			return s.ask(v%3, &kmsg.DeleteGroupsRequest{Groups: []string{id, g("none"), ""}})
		})
		for lv := int16(0); lv <= 5; lv++ {
			r.both(fmt.Sprint(name("leave unknown "), lv), func(s *side) kmsg.Response {
				return s.ask(lv, &kmsg.LeaveGroupRequest{Group: id, MemberID: "m", Members: []kmsg.LeaveGroupRequestMember{{MemberID: "m"}, {MemberID: ""}}})
			})
			r.both(fmt.Sprint(name("leave no group "), lv), func(s *side) kmsg.Response {
				return s.ask(lv, &kmsg.LeaveGroupRequest{Group: g("none"), MemberID: "m", Members: []kmsg.LeaveGroupRequestMember{{MemberID: "m"}}})
			})
			r.both(fmt.Sprint(name("leave empty group "), lv), func(s *side) kmsg.Response {
				return s.ask(lv, &kmsg.LeaveGroupRequest{Group: "", MemberID: "m", Members: []kmsg.LeaveGroupRequestMember{{MemberID: "m"}}})
			})
		}
		r.both(name("leave"), func(s *side) kmsg.Response {
			return s.ask(min(v, highest(13, 5)), &kmsg.LeaveGroupRequest{Group: id, MemberID: s.member[id], Members: []kmsg.LeaveGroupRequestMember{{MemberID: s.member[id]}}})
		})
		r.read(name("describe empty"), func(s *side) kmsg.Response {
			return s.ask(highest(15, 6), &kmsg.DescribeGroupsRequest{Groups: []string{id}})
		})
		r.both(name("rejoin empty"), func(s *side) kmsg.Response { return s.ask(v, joining(id, s.member[id])) })
	}
	// static
	for v := int16(5); v <= 9; v++ {
		id := g(fmt.Sprint("static", v))
		i := "i"
		name := func(what string) string { return fmt.Sprint("Static ", v, " ", what) }
		sj := func(m string) *kmsg.JoinGroupRequest {
			r := joining(id, m)
			r.InstanceID = &i
			return r
		}
		r.both(name("join"), func(s *side) kmsg.Response {
			r := s.ask(v, sj("")).(*kmsg.JoinGroupResponse)
			s.member[id] = r.MemberID
			return r
		})
		r.both(name("sync"), func(s *side) kmsg.Response { return s.ask(5, syncing(id, s.member[id], 1)) })
		r.both(name("again"), func(s *side) kmsg.Response {
			r := s.ask(v, sj("")).(*kmsg.JoinGroupResponse)
			s.member[id+"2"] = r.MemberID
			return r
		})
		r.both(name("fenced join"), func(s *side) kmsg.Response { return s.ask(v, sj(s.member[id])) })
		r.both(name("fenced heartbeat"), func(s *side) kmsg.Response {
			return s.ask(4, &kmsg.HeartbeatRequest{Group: id, MemberID: s.member[id], Generation: 1, InstanceID: &i})
		})
		r.both(name("unknown instance"), func(s *side) kmsg.Response {
			j := "j"
			return s.ask(4, &kmsg.HeartbeatRequest{Group: id, MemberID: s.member[id], Generation: 1, InstanceID: &j})
		})
		r.both(name("sync2"), func(s *side) kmsg.Response { return s.ask(5, syncing(id, s.member[id+"2"], 1)) })
		r.read(name("describe"), func(s *side) kmsg.Response {
			return s.ask(highest(15, 6), &kmsg.DescribeGroupsRequest{Groups: []string{id}})
		})
		r.both(name("leave"), func(s *side) kmsg.Response {
			j := "j"
			return s.ask(highest(13, 5), &kmsg.LeaveGroupRequest{Group: id, Members: []kmsg.LeaveGroupRequestMember{{InstanceID: &j}, {MemberID: s.member[id], InstanceID: &i}, {InstanceID: &i}}})
		})
	}
	// simple groups and fetch
	for v := lowest(8, 2); v <= 9; v++ {
		id := g(fmt.Sprint("simple", v))
		r.both(fmt.Sprint("commit no group ", v), func(s *side) kmsg.Response { return s.ask(v, commit(id, "m", 3, "t", "nope")) })
		r.both(fmt.Sprint("commit empty group ", v), func(s *side) kmsg.Response { return s.ask(v, commit("", "", -1, "t")) })
		r.both(fmt.Sprint("commit ", v), func(s *side) kmsg.Response { return s.ask(v, commit(id, "", -1, "nope", "t", "u")) })
		r.both(fmt.Sprint("commit member of empty ", v), func(s *side) kmsg.Response { return s.ask(v, commit(id, "m", 0, "t")) })
		r.both(fmt.Sprint("commit metadata ", v), func(s *side) kmsg.Response {
			r := commit(id, "", -1, "t")
			long, short := strings.Repeat("x", 5000), "short"
			r.Topics[0].Partitions[0].Metadata, r.Topics[0].Partitions[2].Metadata = &long, &short
			return s.ask(v, r)
		})
		r.both(fmt.Sprint("commit negative ", v), func(s *side) kmsg.Response {
			r := commit(id, "", -1, "u")
			r.Topics[0].Partitions[0].Offset = 0
			return s.ask(v, r)
		})
	}
	id := g(fmt.Sprint("simple", highest(8, 9)))
	for v := lowest(9, 1); v <= 9; v++ {
		for _, grp := range []string{id, g("none"), ""} {
			for _, all := range []bool{true, false} {
				if all && v < 2 {
					continue
				}
				r.read(fmt.Sprint("fetch ", v, " ", grp, all), func(s *side) kmsg.Response {
					r := kmsg.NewPtrOffsetFetchRequest()
					r.Group = grp
					gr := kmsg.NewOffsetFetchRequestGroup()
					gr.Group = grp
					if !all {
						r.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "u", Partitions: []int32{0, 2, 9}}, {Topic: "nope", Partitions: []int32{0}}, {Topic: "t", Partitions: []int32{1}}}
						gr.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "u", Partitions: []int32{0, 2, 9}}, {Topic: "nope", Partitions: []int32{0}}, {Topic: "t", Partitions: []int32{1}}}
					}
					r.Groups = append(r.Groups, gr)
					r.RequireStable = v%2 == 1
					return s.ask(v, r)
				})
			}
		}
	}
	for v := int16(0); v <= 5; v++ {
		for _, f := range [][2][]string{{nil, nil}, {{"empty"}, nil}, {{"x"}, nil}, {nil, {"consumer"}}, {nil, {"bogus"}}, {{"Empty"}, {"Classic"}}} {
			r.read(fmt.Sprint("list ", v, f), func(s *side) kmsg.Response {
				r := s.ask(v, &kmsg.ListGroupsRequest{StatesFilter: f[0], TypesFilter: f[1]}).(*kmsg.ListGroupsResponse)
				var keep []kmsg.ListGroupsResponseGroup
				for _, x := range r.Groups {
					if x.Group == id {
						keep = append(keep, x)
					}
				}
				r.Groups = keep
				return r
			})
		}
	}
	r.both("offset delete simple", func(s *side) kmsg.Response {
		return s.ask(0, &kmsg.OffsetDeleteRequest{Group: id, Topics: []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 2}}}}})
	})
	for _, x := range []string{"", g("none")} {
		r.both("offset delete "+x, func(s *side) kmsg.Response {
			return s.ask(0, &kmsg.OffsetDeleteRequest{Group: x, Topics: []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}})
		})
	}
	r.both("delete simple", func(s *side) kmsg.Response {
		return s.ask(2, &kmsg.DeleteGroupsRequest{Groups: []string{id, id, g("none")}})
	})
	// KIP-848
	ng := g("new")
	hb := func(m string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
		r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		r.Group, r.MemberID, r.MemberEpoch = ng, m, epoch
		if epoch == 0 {
			r.RebalanceTimeoutMillis, r.SubscribedTopicNames, r.Topics = 60000, []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		}
		return r
	}
	for v := int16(0); v <= 1; v++ {
		for what, f := range map[string]func(*kmsg.ConsumerGroupHeartbeatRequest){
			"group": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" }, "epoch -3": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 },
			"epoch -2": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 }, "epoch -1": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 },
			"epoch 5": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 5 }, "no timeout": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 },
			"no topics": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil }, "no names": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil },
			"assignor": func(r *kmsg.ConsumerGroupHeartbeatRequest) { a := "best"; r.ServerAssignor = &a }, "regex": func(r *kmsg.ConsumerGroupHeartbeatRequest) { a := "("; r.SubscribedTopicRegex = &a },
			"rack": func(r *kmsg.ConsumerGroupHeartbeatRequest) { a := ""; r.RackID = &a }, "instance": func(r *kmsg.ConsumerGroupHeartbeatRequest) { a := ""; r.InstanceID = &a },
			"epoch 5 no member": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch, r.MemberID = 5, "" },
		} {
			r.both(fmt.Sprint("new heartbeat ", v, " ", what), func(s *side) kmsg.Response {
				r := hb("m", 0)
				f(r)
				return s.ask(v, r)
			})
		}
	}
	r.both("new join without id v1", func(s *side) kmsg.Response { return s.ask(1, hb("", 0)) })
	r.both("new join", func(s *side) kmsg.Response { return s.ask(1, hb("m", 0)) })
	r.both("new beat", func(s *side) kmsg.Response { return s.ask(1, hb("m", 1)) })
	r.both("new beat wrong epoch", func(s *side) kmsg.Response { return s.ask(1, hb("m", 9)) })
	r.both("new beat unknown", func(s *side) kmsg.Response { return s.ask(1, hb("n", 1)) })
	for v := int16(0); v <= 1; v++ {
		r.read(fmt.Sprint("new describe ", v), func(s *side) kmsg.Response {
			return s.ask(v, &kmsg.ConsumerGroupDescribeRequest{Groups: []string{ng, g("none"), g("join5"), ""}, IncludeAuthorizedOperations: v == 1})
		})
	}
	for v := int16(0); v <= 6; v++ {
		r.read(fmt.Sprint("new described classic ", v), func(s *side) kmsg.Response { return s.ask(v, &kmsg.DescribeGroupsRequest{Groups: []string{ng}}) })
	}
	for v := int16(2); v <= 9; v++ {
		for _, x := range []struct {
			m   string
			gen int32
		}{{"m", 1}, {"m", 0}, {"m", 2}, {"n", 1}, {"", -1}} {
			r.both(fmt.Sprint("new commit ", v, x), func(s *side) kmsg.Response { return s.ask(v, commit(ng, x.m, x.gen, "t")) })
		}
	}
	for _, x := range []struct {
		m   *string
		gen int32
	}{{p("m"), 1}, {p("m"), 0}, {p("n"), 1}, {nil, -1}, {p(""), -1}, {p(""), 1}} {
		r.read(fmt.Sprint("new fetch ", x), func(s *side) kmsg.Response {
			gr := kmsg.NewOffsetFetchRequestGroup()
			gr.Group, gr.MemberID, gr.MemberEpoch = ng, x.m, x.gen
			return s.ask(9, &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{gr}})
		})
	}
	r.both("new classic heartbeat", func(s *side) kmsg.Response {
		return s.ask(4, &kmsg.HeartbeatRequest{Group: ng, MemberID: "m", Generation: 1})
	})
	r.both("new classic leave", func(s *side) kmsg.Response {
		return s.ask(5, &kmsg.LeaveGroupRequest{Group: ng, Members: []kmsg.LeaveGroupRequestMember{{MemberID: "m"}, {MemberID: "n"}}})
	})
	r.both("new delete offsets", func(s *side) kmsg.Response {
		return s.ask(0, &kmsg.OffsetDeleteRequest{Group: ng, Topics: []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}})
	})
	r.both("new delete group", func(s *side) kmsg.Response { return s.ask(2, &kmsg.DeleteGroupsRequest{Groups: []string{ng}}) })
	r.both("new leave", func(s *side) kmsg.Response { return s.ask(1, hb("m", -1)) })
	r.both("new delete group empty", func(s *side) kmsg.Response { return s.ask(2, &kmsg.DeleteGroupsRequest{Groups: []string{ng}}) })
}

func p(s string) *string { return &s }
