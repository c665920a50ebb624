// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/cmd/espalier/member"
)

func newMemberCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "member",
		Short: "Keep the pods together that serve one copy of a model, or train one adapter",
		Long:  "Helpers that run in the pods of a service or a tuning run over several nodes.",
	}
	command.AddCommand(newMemberRunCommand(), newMemberInstallCommand())
	return command
}

func newMemberInstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "install DIR",
		Short: "Copy this program to a folder, for a container of another image",
		Args:  cobra.ExactArgs(1),
		RunE:  func(_ *cobra.Command, args []string) error { return member.Install(args[0]) },
	}
}

func newMemberRunCommand() *cobra.Command {
	var o member.Options
	command := &cobra.Command{
		Use:   "run --rank N --size N --peer ADDRESS -- COMMAND [ARG…]",
		Short: "Run a command when all members are there, and end when one is lost",
		Long: "Waits for the other members, runs COMMAND, and ends when a member is lost or has started anew, so that all of\n" +
			"them start together. Answers /member to the others, /ready and /live to the kubelet.\n" +
			"Exits with 75 when it ends because of another member: that is no failure of COMMAND.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Command, o.Output, o.Log = args, c.OutOrStdout(), c.ErrOrStderr()
			code, err := member.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if code != 0 {
				return fmt.Errorf("%s ended with exit code %d", args[0], code)
			}
			return nil
		},
	}
	fs := command.Flags()
	fs.IntVar(&o.Rank, "rank", 0, "Rank of this member; 0 leads")
	fs.IntVar(&o.Size, "size", 0, "Number of members (required)")
	fs.StringVar(&o.Group, "group", "", "What all members must have in common")
	fs.StringVar(&o.Peer, "peer", "", "Address of a member, HOST:PORT with %d for its rank (required)")
	fs.StringVar(&o.Listen, "listen", fmt.Sprintf(":%d", member.DefaultPort), "Address that members and the kubelet ask")
	fs.StringVar(&o.Server, "server", "http://127.0.0.1:8000/health", "URL that answers 200 when the model can be used; empty: COMMAND serves nothing")
	fs.StringVar(&o.Done, "done", "", "COMMAND comes to an end: file on a shared volume that rank 0 writes when it has succeeded; where it is there, nothing is run")
	fs.StringArrayVar(&o.WorkerArgs, "worker-arg", nil, "Argument that is appended on ranks above 0; may be given several times")
	fs.DurationVar(&o.StartWithin, "start-within", member.DefaultStart, "How long the model may take to load")
	fs.DurationVar(&o.JoinWithin, "join-within", 0, "How long the others may take to be there; 0: any time")
	fs.DurationVar(&o.Patience, "patience", member.DefaultPatience, "How long a member may be out of reach")
	fs.DurationVar(&o.Poll, "poll", member.DefaultPoll, "How often the members are asked")
	fs.DurationVar(&o.Drain, "drain", member.DefaultDrain, "How long a worker lets the leader end its requests")
	cobra.CheckErr(command.MarkFlagRequired("size"))
	cobra.CheckErr(command.MarkFlagRequired("peer"))
	return command
}
