package hostile

import "strings"

// Paths are spellings of the path of a file that is outside every tree, and
// of others that lead out of one.
func Paths(file string) []string {
	rooted := strings.TrimPrefix(file, "/")
	up := strings.Repeat("../", 50)
	return []string{
		// CVE-2022-24348, CVE-2022-24730, CVE-2022-24731, CVE-2026-47680: traversal, with and without what dodges a check.
		file, "./" + file, "//" + file, "/" + file, up + rooted, "a/" + up + rooted, "./" + up + rooted, "a/b/../../" + up + rooted, up + "." + file,
		"file://" + file, "file://localhost" + file, "FILE://" + file, "file:" + file, "/./" + rooted, "/../" + rooted, file + "/", file + "/.", file + "\x00", file + "\x00.yaml", file + "%00",
		strings.ReplaceAll(file, "/", "%2f"), strings.ReplaceAll(file, "/", "%2F"), strings.ReplaceAll(file, "/", "%252f"), strings.ReplaceAll(file, "/", "\\"), strings.ReplaceAll(up, "/", "\\") + rooted,
		strings.ReplaceAll(up, "..", "%2e%2e") + rooted, strings.ReplaceAll(up, "..", "..%00") + rooted, strings.ReplaceAll(up, "../", "..//") + rooted, strings.ReplaceAll(up, "../", ".././") + rooted,
		"..", "../", "../x", "a/../../x", "./../x", "..;/x", "a/..;/x", "....//x", "..\\x", "a\\..\\..\\x", "%2e%2e/x", "..%2fx", "..%252fx", "..%c0%afx", ".. /x", " ../x", "..\n/x", "a/..\r\n/x", "\x00",
		"\u2025/x", "\uff0e\uff0e/x", "..\u2215x", "\u202e/x", "~/x", "~root/x", "$HOME/x", "${HOME}/x", "$(cat " + file + ")", "`cat " + file + "`", "$ref/../../x", "$values/" + up + rooted, "${ARGOCD_APP_NAME}/" + up + rooted,
		"/etc/passwd", "/proc/self/environ", "/proc/self/fd/0", "/proc/self/cwd/x", "/proc/1/root" + file, "/dev/stdin", "/dev/fd/0", "/dev/tcp/127.0.0.1/1", "C:\\x", "C:/x", "\\\\host\\share", "\\\\?\\C:\\x", "//host/share",
		"/", ".", "", "*", "**", "**/*", "../*", "/*", up + rooted[:strings.LastIndexByte(rooted, '/')+1] + "*", "[", "{a,b}", "{" + file + ",x}", strings.Repeat("a/", 600), strings.Repeat("a", 5000),
	}
}

// Arguments would make a program read file or run program, were they not kept
// from standing among its options: CVE-2017-1000117, CVE-2018-17456,
// CVE-2021-41254, CVE-2025-21613 and the requirement SEC-07.
func Arguments(file, program string) []string {
	return []string{
		"-", "--", "-h", "--help", "-f" + file, "--values=" + file, "-f", "--set-file=a=" + file, "--post-renderer=" + program, "--post-renderer", "--kubeconfig=" + file, "--kube-context=x", "--namespace=kube-system",
		"--repo=file://" + file, "--plugins-dir=/", "--registry-config=" + file, "--repository-config=" + file, "--output-dir=/tmp", "--ca-file=" + file, "--key-file=" + file, "--helm-command=" + program, "--enable-helm",
		"--enable-exec", "--enable-alpha-plugins", "--enable-star", "--load-restrictor=LoadRestrictionsNone", "--mount=type=bind,src=/,dst=/x", "--network", "--env=PATH", "-o/tmp/x", "--output=/tmp/x",
		"--upload-pack=" + program, "--receive-pack=" + program, "--exec=" + program, "--config-env=x=PATH", "-c core.sshCommand=" + program, "-ccore.fsmonitor=" + program, "-c", "--git-dir=/", "-C/", "--template=/", "--separate-git-dir=/",
		"-oProxyCommand=" + program, "-F" + file, "-i" + file, "-E" + file, "--ext-str=a=" + file, "--ext-code-file=a=" + file, "--tla-str-file=a=" + file, "-J/", "--jpath=/",
		"x --values=" + file, "x\n--values=" + file, "x\r--values=" + file, "x\x00--values=" + file, "x\t--post-renderer=" + program, "x' --values='" + file, "x\" --values=\"" + file, "x;" + program, "x|" + program, "x&&" + program, "x&" + program,
		"$(" + program + ")", "`" + program + "`", "$((1))", "${IFS}" + program, "x\n" + program + "\n", "!" + program, "{{" + program + "}}", "%{" + program + "}", "#{" + program + "}", "<(" + program + ")", ">" + file, "<" + file, "@" + file, "=" + file, "nginx=-x", "-x=nginx:1",
	}
}

// Links are targets of symbolic links that must not be followed: CVE-2022-24904,
// CVE-2022-31036, CVE-2025-53547. In a tree with the links "loop" to "loop", and
// "chain0" to "chain1" and on to "chain41", they also do not end.
func Links(file string) []string {
	rooted := strings.TrimPrefix(file, "/")
	return []string{
		file, strings.Repeat("../", 40) + rooted, "../" + file, "./" + file, "/", "..", "../..", "/etc", "/etc/passwd", "/proc/self/root" + file, "/proc/self/cwd", file[:strings.LastIndexByte(file, '/')],
		"loop", "chain0", "a/../../" + strings.Repeat("../", 40) + rooted, ".", "", "\x00", file + "\x00", "//" + rooted, "C:\\x", "file://" + file, strings.Repeat("x", 5000), strings.Repeat("a/", 2100),
	}
}

// URLs are names of repositories that are refused, or that lead elsewhere than
// they seem to: CVE-2020-5260, CVE-2020-11008, CVE-2017-1000117, CVE-2025-48384,
// CVE-2026-44936, GHSA-jjrm-hr5f-673x. The file is one of this machine, program
// one that must not run.
func URLs(file, program string) []string {
	return []string{
		"ext::sh -c " + program, "ext::" + program, "fd::17", "transport::address", "git::file://" + file, "git::ext::" + program, "git::https://host/x?ref=--upload-pack=" + program, "HTTPS::x",
		"file://" + file, "file:///", "file://host" + file, file, "./x", "../x", "x", "", " ", "-", "--upload-pack=" + program, "-oProxyCommand=" + program, "ssh://-oProxyCommand=" + program + "/y", "ssh://-oProxyCommand=" + program + "@host/y",
		"-oProxyCommand=" + program + ":y", "user@-oProxyCommand=" + program + ":y", "git@host:-x", "git@host:", "a@b@host:x", "ssh://u$(" + program + ")@host/x", "ssh://`" + program + "`@host/x",
		"https://host/a\nb", "https://host/a\rb", "https://host/a\x00b", "https://host/a%0ab", "https://host/a%0d%0ahost=evil", "https://host/a%00", "https://host%0a.evil/x", "https://host?%0ahost=evil/x", "https://host/x\n--upload-pack=" + program,
		"https://host\\@evil/x", "https://host@evil/x", "https://evil#@host/x", "https://host:443@evil/x", "https://host/../x", "https://host/org/../evil", "https://host/org%2f..%2fevil", "https://host/org/%2e%2e/evil", "https://host/org/./x",
		"https://host./x", "https://ho\u200bst/x", "https://h\u00f6st/x", "\u202ehttps://host/x", "https://ho st/x", "https://host/x?service=git-receive-pack", "https://host/x#main", "https://host:99999999/x", "https://-a/x", "https://a..b/x",
		"http://127.0.0.1:1/x", "http://localhost:1/x", "http://0x7f000001:1/x", "http://2130706433:1/x", "http://[::1]:1/x", "http://[::ffff:127.0.0.1]:1/x", "http://169.254.169.254/latest/meta-data", "http://metadata.google.internal/x", "http://10.0.0.1/x",
		"git://host/x", "ftp://host/x", "rsync://host/x", "javascript://x/y", "data:,x", "oci://-x/y", "oci://host/../y", "s3::http://127.0.0.1:1/x", "hg::x", "github.com/-x/y", "github.com/a/b?ref=--exec=" + program, strings.Repeat("https://host/x", 200),
	}
}
