// Package policy is the one policy for all kinds of evidence: a YAML file, or a
// Go value, with a section for each vendor.
//
//	sev_snp:
//	  measurement: [ddc52245…]
//	  host_data: any
//	  report_data: any
//	  minimum_tcb: {bootloader: 4, tee: 0, snp: 22, microcode: 213}
//	  allow_smt: true
//	  chip_ids: any
//	tdx:
//	  mr_td: 3f4a…
//	nvidia:
//	  minimum_driver: 550.90.07
//	  vbios_versions: any
//	simulated:
//	  roots: [9f31…]
//	collateral:
//	  allow_stale: 72h
//
// It is strict by default: a section that is left out accepts nothing of that
// vendor's evidence, and within a section a measurement, a binding, a floor of the
// TCB, the platforms or the versions of driver and VBIOS that are left out accept
// nothing either; whoever means any value says so. What a guest may be allowed, and
// collateral beyond its end, is refused unless allowed. Only a command that
// looks at evidence, and shows what was not compared, calls [Policy.PermitUnpinned].
package policy
