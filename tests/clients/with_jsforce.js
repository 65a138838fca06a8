// Drives a sandbox through jsforce, and prints what came back as one JSON document.
//
// Argument: a JSON document with url, token, username, password, security_token, client_id, client_secret, refresh_token.

const jsforce = require('jsforce');

const org = JSON.parse(process.argv[2]);
const version = '62.0';
const out = {};

const refused = async (call) => {
  try {
    return { code: null, content: await call() };
  } catch (error) {
    return { code: error.errorCode ?? error.name, message: error.message };
  }
};

const all = (stream) =>
  new Promise((resolve, reject) => {
    const records = [];
    stream.on('record', (record) => records.push(record));
    stream.on('end', () => resolve(records));
    stream.on('error', reject);
  });

async function main() {
  // Sign in: SOAP, passwords, client credentials, a code of the web flow, a refresh in the middle of a call.
  const soap = new jsforce.Connection({ loginUrl: org.url, version });
  out.soap_login = await soap.login(org.username, org.password + org.security_token);
  out.soap_user = await soap.soap.getUserInfo();
  out.bad_login = await refused(() => new jsforce.Connection({ loginUrl: org.url, version }).login(org.username, 'wrong'));
  await soap.logout();
  out.after_logout = await refused(() => new jsforce.Connection({ instanceUrl: org.url, accessToken: '00D!gone', version }).query('SELECT Id FROM Account'));
  const app = { loginUrl: org.url, clientId: org.client_id, clientSecret: org.client_secret };
  const oauth = new jsforce.Connection({ oauth2: app, version });
  out.oauth_login = await oauth.login(org.username, org.password);
  await oauth.logout();
  const own = new jsforce.Connection({ instanceUrl: org.url, oauth2: app, version });
  out.client_credentials = await own.authorize({ grant_type: 'client_credentials' });
  const web = new jsforce.OAuth2({ ...app, redirectUri: 'http://localhost/callback', useVerifier: true });
  const page = await fetch(web.getAuthorizationUrl({ state: 'a b' }), { redirect: 'manual' });
  const back = new URL(page.headers.get('location'));
  const coded = new jsforce.Connection({ oauth2: web, version });
  out.code = { state: back.searchParams.get('state'), user: await coded.authorize(back.searchParams.get('code')) };
  const stale = () => new jsforce.Connection({ oauth2: app, instanceUrl: org.url, accessToken: '00D!stale', refreshToken: org.refresh_token, version });
  out.refreshed = {
    rest: (await stale().query('SELECT COUNT() FROM Account')).totalSize,
    bulk: await stale().bulk.load('Contact', 'insert', [{ LastName: 'Refreshed' }]),
    soap: (await stale().soap.getUserInfo()).userId,
  };

  const conn = new jsforce.Connection({ instanceUrl: org.url, accessToken: org.token, version });
  conn.bulk.pollInterval = 100;
  const account = conn.sobject('Account');
  const contact = conn.sobject('Contact');
  out.identity = await conn.identity();
  out.limits = (await conn.limits()).DailyApiRequests;
  out.limit_info = conn.limitInfo;
  out.describe_global = (await conn.describeGlobal()).sobjects.length;
  out.describe = (await conn.describe('account')).name;
  out.recent = await conn.recent();
  out.theme = (await conn.theme()).themeItems.length;

  // Rows, one and many.
  const one = await account.create({ Name: 'Js One' });
  out.create = one;
  out.create_many = await account.create([{ Name: 'Js Two' }, { Name: 'Js Three' }, {}]);
  out.create_whole = await account.create([{ Name: 'Js Four' }, {}], { allOrNone: true });
  const ids = out.create_many.filter((row) => row.success).map((row) => row.id);
  out.retrieve = (await account.retrieve(ids)).map((row) => row.Name);
  out.update = await account.update(ids.map((Id) => ({ Id, Name: 'Js Updated' })));
  out.upsert_id = await account.upsert({ Id: one.id, Name: 'Js Upserted' }, 'Id');
  out.upsert = [
    await contact.upsert({ Email: 'js@example.com', LastName: 'First' }, 'Email'),
    await contact.upsert({ Email: 'js@example.com', LastName: 'Second' }, 'Email'),
    await contact.upsert([{ Email: 'js@example.com', LastName: 'Third' }, { Email: 'js2@example.com', LastName: 'New' }], 'Email'),
  ];
  const [hour, minutes] = [3_600_000, 120_000];
  const span = [new Date(Date.now() - hour), new Date(Date.now() + minutes)];
  out.updated = (await account.updated(...span)).ids.includes(one.id);
  out.destroy = await account.destroy(ids);
  out.deleted = (await account.deleted(...span)).deletedRecords.map((row) => row.id);
  out.undelete = await conn.soap.undelete(ids);
  out.ids = ids;
  out.soap_create = await conn.soap.create([{ type: 'Account', Name: 'Soap <&>' }, { type: 'Account' }]);

  // Queries.
  out.query = (await conn.query("SELECT Id, Name FROM Account WHERE Name = 'Js Upserted'")).records[0].Id === one.id;
  out.search = (await conn.search('FIND {Upserted} IN ALL FIELDS RETURNING Account(Id, Name)')).searchRecords;
  out.errors = {
    query: await refused(() => conn.query('SELECT Nope FROM Account')),
    row: await refused(() => account.create({})),
    several: await refused(() => conn.sobject('User').upsert({ Email: 'twin@example.com', LastName: 'x' }, 'Email')),
    session: out.after_logout,
  };

  // Bulk API 1.0, XML and CSV.
  out.bulk_insert = await conn.bulk.load('Contact', 'insert', [
    { LastName: 'Bulk', FirstName: null, DoNotCall: true, Email: 'bulk@example.com' },
    { FirstName: 'Nameless' },
  ]);
  out.bulk_upsert = await conn.bulk.load('Contact', 'upsert', { extIdField: 'Email', concurrencyMode: 'Serial' }, [
    { LastName: 'Bulk Two', Email: 'bulk@example.com' },
    { LastName: 'Bulk "Three"', Email: 'bulk3@example.com' },
  ]);
  out.bulk_query = await all(await conn.bulk.query("SELECT Id, LastName, Account.Name FROM Contact WHERE LastName LIKE 'Bulk%' ORDER BY Id"));
  out.bulk_nothing = await all(await conn.bulk.query("SELECT Id FROM Contact WHERE LastName = 'nobody'"));
  out.bulk_delete = await conn.bulk.load('Contact', 'delete', out.bulk_query.map(({ Id }) => ({ Id })));
  out.bulk_errors = {
    column: await refused(() => conn.bulk.load('Contact', 'insert', [{ Nope__c: 'x' }])),
    object: await refused(() => conn.bulk.load('Nothing', 'insert', [{ Name: 'x' }])),
  };
  const job = conn.bulk.createJob('Contact', 'insert');
  await job.open();
  out.bulk_job = { batches: (await job.list()).filter(Boolean).length, state: (await job.check()).state };
  out.bulk_abort = (await job.abort()).state;

  // Bulk API 2.0.
  conn.bulk2.pollTimeout = 20_000;
  conn.bulk2.pollInterval = 100;
  out.bulk2 = await conn.bulk2.loadAndWaitForResults({
    object: 'Contact',
    operation: 'insert',
    input: [{ LastName: 'Two', Description: 'a;b|c,d' }, { FirstName: 'Nameless' }],
    pollTimeout: 20_000,
    pollInterval: 100,
  });
  const found = await conn.bulk2.query("SELECT Id, LastName FROM Contact WHERE LastName = 'Two'");
  out.bulk2_query = await found.toArray();
}

main().then(
  () => process.stdout.write(JSON.stringify(out)),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
